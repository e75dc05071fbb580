// File: client/cli/chat_session.h
//
// A conversation, line by line: what the user says goes to the model, and lines that begin with '/'
// change how it answers.

#ifndef SHIRA_CLIENT_CLI_CHAT_SESSION_H_
#define SHIRA_CLIENT_CLI_CHAT_SESSION_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/cli/json_output.h"
#include "client/cli/session.h"
#include "shira/v1/inference.pb.h"

namespace shira::cli {

// Not thread-safe.
class ChatSession {
 public:
  enum class Next { kContinue, kQuit };

  // `settings` is a request without input, `beginning` what the conversation begins with. With
  // `interactive` it tells the user on standard error what changed.
  ChatSession(Session& session, v1::GenerateRequest settings, v1::ChatInput beginning,
              bool interactive);

  // Answers or obeys one line. After an error, or an interrupted answer (which is kept as far as it
  // came), the conversation can go on: what the user said last is forgotten if nothing was
  // answered.
  absl::StatusOr<Next> HandleLine(absl::string_view line);

  // {"messages": [...], "turns": [what `generate --json` prints, ...]}
  Json Transcript() const;

  // For Tab: what the last word of a line that begins with '/' can be, a command, a setting or the
  // name of an adapter, for which the server is asked. Empty for what goes to the model.
  std::vector<std::string> CompletionsOf(absl::string_view line);

  // What the lines that begin with '/' do, one per line.
  static std::string Help();

 private:
  struct SlashCommand;
  static absl::Span<const SlashCommand> SlashCommands();
  static std::vector<std::string> SlashCommandNames();

  absl::StatusOr<Next> UseAdapters(const std::vector<std::string>& specs);
  absl::StatusOr<Next> UseBase(const std::vector<std::string>& arguments);
  absl::StatusOr<Next> ListAdapters(const std::vector<std::string>& arguments);
  absl::StatusOr<Next> Set(const std::vector<std::string>& arguments);
  absl::StatusOr<Next> Reset(const std::vector<std::string>& arguments);
  absl::StatusOr<Next> PrintHelp(const std::vector<std::string>& arguments);
  absl::StatusOr<Next> Quit(const std::vector<std::string>& arguments);

  absl::Status Answer(absl::string_view text);
  // Both store the answer's text, as far as it came, in `text`.
  absl::Status AnswerStreaming(const v1::GenerateRequest& request, std::string& text);
  absl::Status AnswerAsJson(const v1::GenerateRequest& request, std::string& text);

  void Tell(absl::string_view text);
  std::string DescribeSelection() const;
  // Whether an adapter of this name and version, or its name alone, is among those that answer.
  bool IsSelected(absl::string_view name) const;

  Session& session_;
  const v1::ChatInput beginning_;
  const bool interactive_;
  // Settings, and the conversation so far.
  v1::GenerateRequest request_;
  Json turns_ = Json::array();
};

}  // namespace shira::cli

#endif  // SHIRA_CLIENT_CLI_CHAT_SESSION_H_
