#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/commands.h"
#include "client/cli/conversation_options.h"
#include "client/cli/json_output.h"
#include "client/cli/text_input.h"

namespace shira::cli {
namespace {

struct TokenizeArguments {
  std::optional<std::string> text;  // absent: the conversation
  ConversationOptions conversation;
  bool omit_special_tokens = false;
  bool plain_text = false;
};

absl::StatusOr<v1::TokenizeRequest> MakeRequest(const TokenizeArguments& options) {
  v1::TokenizeRequest request;
  if (options.text.has_value()) {
    absl::StatusOr<std::string> text = ReadText(*options.text);
    if (!text.ok()) return text.status();
    request.set_text(*std::move(text));
  } else {
    absl::StatusOr<v1::ChatInput> chat = ReadConversation(options.conversation);
    if (!chat.ok()) return chat.status();
    *request.mutable_chat() = *std::move(chat);
  }
  request.set_omit_special_tokens(options.omit_special_tokens);
  request.set_plain_text(options.plain_text);
  return request;
}

absl::StatusOr<ExitCode> Tokenize(Session& session, const TokenizeArguments& options) {
  const absl::StatusOr<v1::TokenizeRequest> request = MakeRequest(options);
  if (!request.ok()) return request.status();
  if (absl::Status status = session.Connect(); !status.ok()) return status;

  const absl::StatusOr<v1::TokenizeResponse> response = session.Run(
      "Tokenizing",
      [&](const CallOptions& call) { return session.client().Tokenize(*request, call); });
  if (!response.ok()) return response.status();
  if (session.json()) {
    session.PrintJson(ToJson(*response));
  } else {
    session.out().Write(absl::StrCat(absl::StrJoin(response->ids(), " "), "\n"));
  }
  return ExitCode::kOk;
}

}  // namespace

CommandRunner SetUpTokenize(CLI::App& app) {
  const auto options = std::make_shared<TokenizeArguments>();
  app.description("Turn a text, or a conversation, into token ids");
  app.footer(
      "Examples:\n"
      "  shira tokenize 'Hello, world'\n"
      "  shira tokenize --json < text.txt\n"
      "  shira tokenize --json --messages talk.json --tools functions.json");
  CLI::Option* text =
      app.add_option("TEXT", options->text,
                     "The text; without one, or for '-', standard input, with its last line end")
          ->type_name("");
  const std::vector<const CLI::Option*> of_conversations =
      AddConversationOptions(app, options->conversation);
  app.get_option("--messages")->excludes(text);
  app.parse_complete_callback([options, of_conversations] {
    if (!options->conversation.messages_file.empty()) return;
    RefuseOptions(of_conversations, "--messages");
    if (options->text.has_value()) return;
    ExpectText({}, "text");
    options->text = "-";
  });
  app.add_flag("--omit-special-tokens", options->omit_special_tokens,
               "Leave out what the tokenizer adds around a text");
  app.add_flag("--plain-text", options->plain_text,
               "Take special tokens inside of the text as plain text");
  return [options](Session& session) { return Tokenize(session, *options); };
}

}  // namespace shira::cli
