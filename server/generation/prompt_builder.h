// File: server/generation/prompt_builder.h
//
// From a request's input to the token ids that the model gets.

#ifndef SHIRA_SERVER_GENERATION_PROMPT_BUILDER_H_
#define SHIRA_SERVER_GENERATION_PROMPT_BUILDER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/generation/conversation.h"
#include "server/generation/generate_request.h"
#include "server/jinja/chat_template.h"
#include "server/tokenizer/tokenizer.h"

namespace shira {

// What is tokenised where the call is; anything larger has a thread of its own for that.
inline constexpr size_t kSmallInputBytes = size_t{16} << 10;

// Of what is to be tokenised or rendered; token ids are taken as they are.
size_t InputBytes(const PromptInput& input);

// Thread-safe.
class PromptBuilder {
 public:
  struct Prompt {
    std::vector<int32_t> ids;
    std::string text;  // what was tokenised; empty for token ids
  };

  // All must outlive this object. `chat_template` is nullptr where the model has none that can be
  // used, and then `problem` says why, or is empty where it has none at all.
  PromptBuilder(const Tokenizer& tokenizer, const ChatTemplate* chat_template,
                std::string_view problem = {})
      : tokenizer_(tokenizer), chat_template_(chat_template), problem_(problem) {}

  // What the model gets. INVALID_ARGUMENT for an input without a token, text that cannot be
  // tokenised, JSON of a conversation that cannot be read, and whatever the chat template refuses;
  // FAILED_PRECONDITION for a conversation where there is no template. REQUIRES: CheckAndComplete()
  // accepts the input.
  absl::StatusOr<Prompt> Build(const PromptInput& input) const;

  // The parts of Build(), for callers that want the tokens alone; there may be none.
  absl::StatusOr<Prompt> FromText(const std::string& text, const EncodeOptions& options) const;
  // REQUIRES: CheckConversation() found nothing in `chat`.
  absl::StatusOr<Prompt> FromChat(const Conversation& chat) const;

 private:
  const Tokenizer& tokenizer_;
  const ChatTemplate* const chat_template_;
  const std::string_view problem_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_GENERATION_PROMPT_BUILDER_H_
