// File: server/tokenizer/chat_template.h
//
// Renders a conversation into the prompt that a chat model was trained on, with the model's own Jinja template. The subset of Jinja
// that chat templates use, with the settings that transformers uses (trim_blocks, lstrip_blocks, sandboxed, no undefined checks).

#ifndef SHIRA_SERVER_TOKENIZER_CHAT_TEMPLATE_H_
#define SHIRA_SERVER_TOKENIZER_CHAT_TEMPLATE_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"

namespace shira {

struct ChatMessage {
  std::string role;     // "system", "user", "assistant", "tool"
  std::string content;  // text
};

struct ChatTemplateOptions {
  // Ends the prompt where the assistant's answer begins.
  bool add_generation_prompt = true;
  std::string bos_token;
  std::string eos_token;
  // What strftime_now(format) formats, in UTC.
  absl::Time now = absl::Now();
  // Extra variables as a JSON object ("{}" for none): tools, documents, enable_thinking and so on.
  std::string extra_variables_json = "{}";
};

// A parsed template. Immutable and thread-safe.
class ChatTemplate {
 public:
  // INVALID_ARGUMENT for a syntax error, UNIMPLEMENTED for a construct outside of the subset; both give line and column. Nothing is
  // left to be found out during rendering that the text alone shows: unknown tags, filters, tests and global functions are refused here.
  static absl::StatusOr<ChatTemplate> Parse(std::string_view source);

  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // INVALID_ARGUMENT when the template calls raise_exception() (with its message) or an operation fails on its operands;
  // RESOURCE_EXHAUSTED past the bounds on steps, depth and output size.
  absl::StatusOr<std::string> Render(absl::Span<const ChatMessage> messages,
                                     const ChatTemplateOptions& options) const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_CHAT_TEMPLATE_H_
