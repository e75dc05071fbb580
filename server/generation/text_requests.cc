#include "server/generation/text_requests.h"

#include <algorithm>
#include <vector>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/generation/field_problems.h"

namespace shira {

absl::StatusOr<PromptBuilder::Prompt> Tokenize(const Backend& backend, const TokenizeInput& input) {
  const PromptBuilder prompts(backend.tokenizer, backend.chat_template,
                              backend.chat_template_problem);
  if (const auto* text = std::get_if<std::string>(&input.input)) {
    return prompts.FromText(*text, input.options);
  }
  FieldProblems problems;
  const auto* chat = std::get_if<Conversation>(&input.input);
  if (chat == nullptr) {
    problems.Add("input", "is missing: give text or chat");
  } else {
    CheckConversation(backend.limits.conversation, *chat, problems);
  }
  SHIRA_RETURN_IF_ERROR(problems.ToStatus());
  return prompts.FromChat(*chat);
}

absl::StatusOr<std::string> Detokenize(const Backend& backend, absl::Span<const int32_t> ids,
                                       bool skip_special_tokens) {
  const int32_t tokens = backend.tokenizer.vocab_size();
  const int32_t known = std::max(tokens, backend.limits.vocab_size);
  std::vector<int32_t> with_text;
  with_text.reserve(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= known) {
      FieldProblems problems;
      problems.Add("ids",
                   StrCat("id ", ids[i], " at position ", i, " is not within [0, ", known, ")"));
      return problems.ToStatus();
    }
    // The model's vocabulary may be padded beyond the tokenizer's: such a token has no text.
    if (ids[i] < tokens) with_text.push_back(ids[i]);
  }
  return backend.tokenizer.Decode(with_text, skip_special_tokens);
}

}  // namespace shira
