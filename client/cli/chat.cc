#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/chat_session.h"
#include "client/cli/commands.h"
#include "client/cli/conversation_options.h"
#include "client/cli/generation_options.h"
#include "client/cli/history_file.h"
#include "client/cli/line_reader.h"

namespace shira::cli {
namespace {

struct ChatArguments {
  GenerationOptions generation;
  ConversationOptions conversation;
  std::vector<std::string> words;
  bool no_history = false;
};

// Null when there is none: standard input is no terminal, the history is switched off, or the file
// cannot be used, which is reported once and is no error.
std::optional<HistoryFile> OpenHistory(Session& session, const ChatArguments& options) {
  const std::string path = DefaultHistoryPath();
  if (options.no_history || path.empty()) return std::nullopt;
  absl::StatusOr<HistoryFile> history = HistoryFile::Open(path);
  if (history.ok()) return *std::move(history);
  session.err().Write(
      session.err().Dim(absl::StrCat("What you type is not kept: ", history.status().message())) +
      "\n");
  return std::nullopt;
}

absl::StatusOr<ExitCode> Chat(Session& session, const ChatArguments& options) {
  absl::StatusOr<v1::GenerateRequest> settings = MakeRequest(options.generation);
  if (!settings.ok()) return settings.status();
  absl::StatusOr<v1::ChatInput> beginning = ReadConversation(options.conversation);
  if (!beginning.ok()) return beginning.status();
  if (absl::Status status = session.Connect(); !status.ok()) return status;

  const bool interactive =
      !session.json() && isatty(STDIN_FILENO) == 1 && session.out().is_terminal();
  if (interactive)
    session.err().Write(session.err().Dim("Say something; /help lists commands, Ctrl-D ends.") +
                        "\n");
  std::optional<HistoryFile> history = interactive ? OpenHistory(session, options) : std::nullopt;
  ChatSession chat(session, *std::move(settings), *std::move(beginning), interactive);
  const std::unique_ptr<LineReader> lines =
      interactive
          ? MakeTerminalLineReader(
                {.prompt = "> ",
                 .history = history.has_value() ? history->lines() : std::vector<std::string>(),
                 .completer = [&](absl::string_view line) { return chat.CompletionsOf(line); }})
          : MakePlainLineReader(STDIN_FILENO);
  // What the command line says comes first.
  std::string line = absl::StrJoin(options.words, " ");
  bool has_line = !line.empty();
  while (session.out().error() == 0) {
    const ReadResult read = has_line ? ReadResult::kLine : lines->Read(line);
    if (read == ReadResult::kEnd) break;
    if (read == ReadResult::kInterrupted) {
      if (interactive) continue;
      return ExitCode::kInterrupted;
    }
    if (history.has_value() && !has_line && !history->Append(line).ok()) history.reset();
    has_line = false;
    const absl::StatusOr<ChatSession::Next> next = chat.HandleLine(line);
    if (next.ok()) {
      if (*next == ChatSession::Next::kQuit) break;
    } else if (!interactive) {
      return next.status();
    } else if (!session.interrupted()) {
      session.PrintError(next.status());
    }
  }
  if (session.json()) session.PrintJson(chat.Transcript());
  return ExitCode::kOk;
}

}  // namespace

CommandRunner SetUpChat(CLI::App& app) {
  const auto options = std::make_shared<ChatArguments>();
  app.description("Talk with the model, and switch adapters in the middle of the conversation");
  app.footer(absl::StrCat(
      "Ctrl-C stops an answer. In the conversation:\n", ChatSession::Help(),
      "Examples:\n"
      "  shira chat --adapter pirate\n"
      "  shira chat 'What is a cat?'\n"
      "  printf 'Hello\\n/adapter json\\nAnd now?\\n' | shira chat --max-tokens 60 --json"));
  app.add_option("TEXT", options->words, "What to say first")->type_name("");
  AddConversationOptions(app, options->conversation);
  app.add_flag("--no-history", options->no_history,
               "Do not keep what is typed for the next chat [env SHIRA_HISTORY: the file to keep "
               "it in, or empty]");
  AddGenerationOptions(app, options->generation);
  return [options](Session& session) { return Chat(session, *options); };
}

}  // namespace shira::cli
