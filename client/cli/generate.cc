#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/terminal/usage_error.h"
#include "client/cli/commands.h"
#include "client/cli/conversation_options.h"
#include "client/cli/format.h"
#include "client/cli/generation_options.h"
#include "client/cli/json_output.h"
#include "client/cli/text_input.h"

namespace shira::cli {
namespace {

struct GenerateArguments {
  GenerationOptions generation;
  TextSource prompt;
  bool chat = false;
  ConversationOptions conversation;
  std::optional<int32_t> logprobs;
  std::optional<int32_t> n;
  bool no_stream = false;
};

// Whether the model gets a conversation instead of a plain text.
bool IsConversation(const GenerateArguments& options) {
  return options.chat || !options.conversation.messages_file.empty();
}

// Whether the messages alone are what is to be answered.
bool NeedsNoText(const GenerateArguments& options) {
  return !options.conversation.messages_file.empty() && options.prompt.is_absent();
}

absl::StatusOr<v1::ChatInput> MakeChat(const GenerateArguments& options, absl::string_view prompt) {
  absl::StatusOr<v1::ChatInput> chat = ReadConversation(options.conversation);
  if (chat.ok() && !NeedsNoText(options)) AddMessage("user", prompt, *chat);
  return chat;
}

absl::StatusOr<v1::GenerateRequest> MakeRequest(const GenerateArguments& options,
                                                std::string prompt) {
  absl::StatusOr<v1::GenerateRequest> request = MakeRequest(options.generation);
  if (!request.ok()) return request.status();
  if (IsConversation(options)) {
    absl::StatusOr<v1::ChatInput> chat = MakeChat(options, prompt);
    if (!chat.ok()) return chat.status();
    *request->mutable_chat() = *std::move(chat);
  } else {
    request->set_prompt(std::move(prompt));
  }
  if (options.logprobs) request->set_logprobs(*options.logprobs);
  if (options.n) request->set_n(*options.n);
  return request;
}

// A row per generated token: the token as JSON writes it, its log-probability, and the most
// probable ones.
std::string FormatLogprobs(const google::protobuf::RepeatedPtrField<v1::TokenLogprobs>& logprobs) {
  std::vector<std::vector<std::string>> rows;
  for (const v1::TokenLogprobs& token : logprobs) {
    std::string top;
    for (const v1::TokenLogprob& other : token.top()) {
      absl::StrAppendFormat(&top, "%s%s %.3f", top.empty() ? "" : ", ", Dump(other.token()),
                            other.logprob());
    }
    rows.push_back({Dump(token.chosen().token()), absl::StrCat(token.chosen().token_id()),
                    absl::StrFormat("%.3f", token.chosen().logprob()), std::move(top)});
  }
  return FormatTable(
      {{"TOKEN"}, {"ID", Align::kRight}, {"LOGPROB", Align::kRight}, {"MOST PROBABLE"}}, rows);
}

// Prints the text as it comes. The response holds what is to be printed behind it.
absl::StatusOr<v1::GenerateResponse> Stream(Session& session, const v1::GenerateRequest& request) {
  v1::GenerateResponse response;
  absl::StatusOr<v1::GenerateSummary> summary = session.Run("", [&](const CallOptions& call) {
    return session.client().StreamGenerate(
        request,
        [&](const v1::StreamGenerateResponse::Chunk& chunk) {
          response.mutable_logprobs()->MergeFrom(chunk.logprobs());
          return session.out().Write(chunk.text());
        },
        call);
  });
  if (!summary.ok()) return summary.status();
  *response.mutable_summary() = *std::move(summary);
  return response;
}

// Several answers, one below the other.
void PrintChoices(const v1::GenerateResponse& response, Output& out) {
  for (const v1::Choice& choice : response.choices()) {
    if (choice.end().index() > 0) out.Write("\n");
    out.Write(out.Dim(absl::StrCat("[", choice.end().index(), "]")) + "\n" + choice.text());
    if (!out.at_line_start()) out.Write("\n");
    if (!choice.logprobs().empty()) out.Write("\n" + FormatLogprobs(choice.logprobs()));
  }
}

absl::StatusOr<v1::GenerateResponse> GenerateWhole(Session& session,
                                                   const v1::GenerateRequest& request) {
  absl::StatusOr<v1::GenerateResponse> response = session.Run(
      "Generating",
      [&](const CallOptions& call) { return session.client().Generate(request, call); });
  return response;
}

absl::StatusOr<ExitCode> Generate(Session& session, const CLI::App& app,
                                  const GenerateArguments& options) {
  absl::StatusOr<std::string> prompt = "";
  if (!NeedsNoText(options)) prompt = ReadText(options.prompt);
  if (!prompt.ok()) return prompt.status();
  if (prompt->empty() && options.prompt.is_absent() && !NeedsNoText(options)) {
    session.err().Write(
        UsageMessage(app, "no prompt: give it in quotes; standard input has nothing either"));
    return ExitCode::kUsage;
  }
  const absl::StatusOr<v1::GenerateRequest> request = MakeRequest(options, *std::move(prompt));
  if (!request.ok()) return request.status();
  if (absl::Status status = session.Connect(); !status.ok()) return status;

  const bool several = options.n.value_or(1) > 1;
  const bool whole = options.no_stream || session.json() || several;
  const absl::StatusOr<v1::GenerateResponse> response =
      whole ? GenerateWhole(session, *request) : Stream(session, *request);
  if (!response.ok()) return response.status();
  if (session.json()) {
    session.PrintJson(ToJson(*response));
    return ExitCode::kOk;
  }
  if (several) {
    PrintChoices(*response, session.out());
  } else {
    if (whole) session.out().Write(response->text());
    if (!session.out().at_line_start()) session.out().Write("\n");
    if (!response->logprobs().empty())
      session.out().Write("\n" + FormatLogprobs(response->logprobs()));
  }
  if (session.err().is_terminal() || session.verbose())
    PrintFigures(response->summary(), session.err());
  return ExitCode::kOk;
}

}  // namespace

CommandRunner SetUpGenerate(CLI::App& app) {
  const auto options = std::make_shared<GenerateArguments>();
  app.description("Generate text and print it as it comes");
  app.footer(
      "Examples:\n"
      "  shira generate 'Once upon a time' --max-tokens 40\n"
      "  shira generate --chat --system 'Be brief.' 'What is a cat?' --adapter pirate\n"
      "  shira generate --chat 'Hello' --adapter pirate:0.7 --adapter json:0.3 --json\n"
      "  shira generate --messages talk.json --tools functions.json\n"
      "  shira generate --temperature 0.8 --seed 7 < prompt.txt");
  CLI::Option* words =
      app.add_option("TEXT", options->prompt.words,
                     "The text to go on from, or with --chat or --messages the user's message; "
                     "without one, or for '-', standard input is read (not with --messages, whose "
                     "last message is answered then)")
          ->type_name("");
  app.add_option("--prompt", options->prompt.option, "The same, as an option")
      ->type_name("TEXT")
      ->excludes(words);
  app.add_flag("--chat", options->chat, "Put the prompt into the model's chat template");
  const std::vector<const CLI::Option*> of_conversations =
      AddConversationOptions(app, options->conversation);
  app.parse_complete_callback([options, of_conversations] {
    if (!IsConversation(*options)) RefuseOptions(of_conversations, "--chat or --messages");
    if (!NeedsNoText(*options)) ExpectText(options->prompt, "prompt");
  });
  AddGenerationOptions(app, options->generation);
  app.add_option("--logprobs", options->logprobs,
                 "Report log-probabilities: of each token, and of the N most probable (0 to 20)")
      ->type_name("N");
  app.add_option(
         "--n", options->n,
         "So many answers; the prompt is run once, and answer I has the seed S + I. They are "
         "printed when all are complete")
      ->type_name("N");
  app.add_flag("--no-stream", options->no_stream, "Print the answer when it is complete");
  return [options, &app](Session& session) { return Generate(session, app, *options); };
}

}  // namespace shira::cli
