// File: server/generation/text_requests.h
//
// Text to tokens and back for clients that want just that, whatever front end they came through.

#ifndef SHIRA_SERVER_GENERATION_TEXT_REQUESTS_H_
#define SHIRA_SERVER_GENERATION_TEXT_REQUESTS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/generation/backend.h"
#include "server/generation/conversation.h"
#include "server/generation/prompt_builder.h"
#include "server/tokenizer/tokenizer.h"

namespace shira {

struct TokenizeInput {
  std::variant<std::monostate, std::string, Conversation> input;
  EncodeOptions options;  // of a text; a conversation's are those of a generation
};

// INVALID_ARGUMENT without an input, and the errors of PromptBuilder. May take long for more than
// kSmallInputBytes.
absl::StatusOr<PromptBuilder::Prompt> Tokenize(const Backend& backend, const TokenizeInput& input);

// What is decoded where the call is; anything larger has a thread of its own for that.
inline constexpr size_t kSmallDetokenization = 4096;  // ids

// INVALID_ARGUMENT for an id that neither the tokenizer nor the model knows. Ids of the model's alone
// have no text.
absl::StatusOr<std::string> Detokenize(const Backend& backend, absl::Span<const int32_t> ids,
                                       bool skip_special_tokens);

}  // namespace shira

#endif  // SHIRA_SERVER_GENERATION_TEXT_REQUESTS_H_
