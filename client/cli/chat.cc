#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "client/cli/chat_session.h"
#include "client/cli/commands.h"
#include "client/cli/generation_options.h"
#include "client/cli/line_reader.h"

namespace shira::cli {
namespace {

struct Options {
  GenerationOptions generation;
  std::string system;
};

absl::StatusOr<ExitCode> Chat(Session& session, const Options& options) {
  absl::StatusOr<v1::GenerateRequest> settings = MakeRequest(options.generation);
  if (!settings.ok()) return settings.status();
  if (absl::Status status = session.Connect(); !status.ok()) return status;

  const bool interactive =
      !session.json() && isatty(STDIN_FILENO) == 1 && session.out().is_terminal();
  if (interactive)
    session.err().Write(session.err().Dim("Say something; /help lists commands, Ctrl-D ends.") +
                        "\n");
  const std::unique_ptr<LineReader> lines =
      interactive ? MakeTerminalLineReader("> ") : MakePlainLineReader(STDIN_FILENO);
  ChatSession chat(session, *std::move(settings), options.system, interactive);
  std::string line;
  while (session.out().error() == 0) {
    const ReadResult read = lines->Read(line);
    if (read == ReadResult::kEnd) break;
    if (read == ReadResult::kInterrupted) {
      if (interactive) continue;
      return ExitCode::kInterrupted;
    }
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
  const auto options = std::make_shared<Options>();
  app.description("Talk with the model, and switch adapters in the middle of the conversation");
  app.footer(absl::StrCat(
      "Ctrl-C stops an answer. In the conversation:\n", ChatSession::Help(),
      "Examples:\n"
      "  shira chat --adapter pirate\n"
      "  printf 'Hello\\n/adapter json\\nAnd now?\\n' | shira chat --max-tokens 60 --json"));
  app.add_option("--system", options->system, "System message of the conversation")
      ->type_name("TEXT");
  AddGenerationOptions(app, options->generation);
  return [options](Session& session) { return Chat(session, *options); };
}

}  // namespace shira::cli
