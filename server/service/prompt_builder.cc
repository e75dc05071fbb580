#include "server/service/prompt_builder.h"

#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/service/error_details.h"
#include "server/service/field_problems.h"

namespace shira {

size_t InputBytes(const v1::GenerateRequest& request) {
  // Token ids are taken as they are.
  return request.prompt().size() + request.chat().ByteSizeLong();
}

size_t InputBytes(const v1::TokenizeRequest& request) {
  return request.text().size() + request.chat().ByteSizeLong();
}

absl::StatusOr<PromptBuilder::Prompt> PromptBuilder::Build(
    const v1::GenerateRequest& request) const {
  Prompt prompt;
  switch (request.input_case()) {
    case v1::GenerateRequest::kChat: {
      SHIRA_ASSIGN_OR_RETURN(prompt, FromChat(request.chat()));
      break;
    }
    case v1::GenerateRequest::kTokenIds:
      prompt.ids.assign(request.token_ids().ids().begin(), request.token_ids().ids().end());
      break;
    default: {
      SHIRA_ASSIGN_OR_RETURN(prompt, FromText(request.prompt(), EncodeOptions{}));
      break;
    }
  }
  if (prompt.ids.empty()) {
    return WithReason(absl::InvalidArgumentError("the prompt is empty: it has no token"),
                      Operation::kBuildPrompt);
  }
  return prompt;
}

absl::StatusOr<PromptBuilder::Prompt> PromptBuilder::Build(
    const v1::TokenizeRequest& request) const {
  switch (request.input_case()) {
    case v1::TokenizeRequest::kText:
      return FromText(request.text(), {.add_special_tokens = !request.omit_special_tokens(),
                                       .parse_special_tokens = !request.plain_text()});
    case v1::TokenizeRequest::kChat:
      return FromChat(request.chat());
    default: {
      FieldProblems problems;
      problems.Add("input", "is missing: give text or chat");
      return problems.ToStatus();
    }
  }
}

absl::StatusOr<PromptBuilder::Prompt> PromptBuilder::FromText(const std::string& text,
                                                              const EncodeOptions& options) const {
  absl::StatusOr<std::vector<int32_t>> ids = tokenizer_.Encode(text, options);
  if (!ids.ok()) return WithReason(ids.status(), Operation::kBuildPrompt);
  return Prompt{*std::move(ids), text};
}

absl::StatusOr<PromptBuilder::Prompt> PromptBuilder::FromChat(const v1::ChatInput& chat) const {
  if (chat_template_ == nullptr) {
    std::string why = "the model has no chat template";
    if (!problem_.empty()) why += StrCat(" that can be used (", problem_, ")");
    return WithReason(
        absl::FailedPreconditionError(StrCat(why, ": send the conversation as one prompt instead")),
        "NO_CHAT_TEMPLATE");
  }
  std::vector<ChatMessage> messages;
  for (const v1::ChatMessage& message : chat.messages()) {
    messages.push_back({message.role(), message.content()});
  }
  ChatTemplateOptions options;
  options.add_generation_prompt = !chat.omit_generation_prompt();
  options.continue_last_message = chat.omit_generation_prompt();
  options.special_tokens.assign(tokenizer_.named_tokens().begin(),
                                tokenizer_.named_tokens().end());
  if (!chat.template_variables_json().empty()) {
    options.extra_variables_json = chat.template_variables_json();
  }
  absl::StatusOr<std::string> text = chat_template_->Render(messages, options);
  if (!text.ok()) return WithReason(text.status(), Operation::kBuildPrompt);
  // The template has written every special token, bos included.
  return FromText(*text, {.add_special_tokens = false, .parse_special_tokens = true});
}

}  // namespace shira
