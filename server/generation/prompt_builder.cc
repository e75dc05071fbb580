#include "server/generation/prompt_builder.h"

#include <utility>
#include <variant>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/generation/error_details.h"

namespace shira {

size_t InputBytes(const PromptInput& input) {
  if (const auto* text = std::get_if<std::string>(&input)) return text->size();
  const auto* chat = std::get_if<Conversation>(&input);
  return chat != nullptr ? TextBytes(*chat) : 0;
}

absl::StatusOr<PromptBuilder::Prompt> PromptBuilder::Build(const PromptInput& input) const {
  Prompt prompt;
  if (const auto* ids = std::get_if<std::vector<int32_t>>(&input)) {
    prompt.ids = *ids;
  } else if (const auto* chat = std::get_if<Conversation>(&input)) {
    SHIRA_ASSIGN_OR_RETURN(prompt, FromChat(*chat));
  } else {
    SHIRA_ASSIGN_OR_RETURN(prompt, FromText(std::get<std::string>(input), EncodeOptions{}));
  }
  if (prompt.ids.empty()) {
    return WithReason(absl::InvalidArgumentError("the prompt is empty: it has no token"),
                      Operation::kBuildPrompt);
  }
  return prompt;
}

absl::StatusOr<PromptBuilder::Prompt> PromptBuilder::FromText(const std::string& text,
                                                              const EncodeOptions& options) const {
  absl::StatusOr<std::vector<int32_t>> ids = tokenizer_.Encode(text, options);
  if (!ids.ok()) return WithReason(ids.status(), Operation::kBuildPrompt);
  return Prompt{*std::move(ids), text};
}

absl::StatusOr<PromptBuilder::Prompt> PromptBuilder::FromChat(const Conversation& chat) const {
  if (chat_template_ == nullptr) {
    std::string why = "the model has no chat template";
    if (!problem_.empty()) why += StrCat(" that can be used (", problem_, ")");
    return WithReason(
        absl::FailedPreconditionError(StrCat(why, ": send the conversation as one prompt instead")),
        "NO_CHAT_TEMPLATE");
  }
  SHIRA_ASSIGN_OR_RETURN(ChatTemplateInput seen, SeenByTemplate(chat));
  ChatTemplateOptions options;
  options.add_generation_prompt = !chat.continue_last_message;
  options.continue_last_message = chat.continue_last_message;
  options.special_tokens.assign(tokenizer_.named_tokens().begin(), tokenizer_.named_tokens().end());
  absl::StatusOr<std::string> text = chat_template_->Render(std::move(seen), options);
  if (!text.ok()) return WithReason(text.status(), Operation::kBuildPrompt);
  // The template has written every special token, bos included.
  return FromText(*text, {.add_special_tokens = false, .parse_special_tokens = true});
}

}  // namespace shira
