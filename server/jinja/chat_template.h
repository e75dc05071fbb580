// File: server/jinja/chat_template.h
//
// Renders a conversation into the prompt that a chat model was trained on, with the model's own
// Jinja template. The subset of Jinja that chat templates use, with the settings that transformers
// uses (trim_blocks, lstrip_blocks, sandboxed, no undefined checks).

#ifndef SHIRA_SERVER_JINJA_CHAT_TEMPLATE_H_
#define SHIRA_SERVER_JINJA_CHAT_TEMPLATE_H_

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/tokenizer/tokenizer.h"

namespace shira {

struct ChatMessage {
  std::string role;     // "system", "user", "assistant", "tool"
  std::string content;  // text
  // Further fields as a JSON object: tool_calls, tool_call_id, name, reasoning_content and so on;
  // not role or content.
  std::string extra_fields_json = "{}";
};

struct ChatTemplateOptions {
  // Ends the prompt where the assistant's answer begins.
  bool add_generation_prompt = true;
  // Ends the prompt where the last message's content ends, by cutting what the template writes
  // behind it: transformers' continue_final_message. REQUIRES: not add_generation_prompt.
  bool continue_last_message = false;
  // Variables of these names. Another name is undefined, as transformers leaves a token that the
  // tokenizer lacks.
  std::vector<NamedToken> special_tokens;
  // What strftime_now(format) formats, in the process's time zone (TZ).
  absl::Time now = absl::Now();
  // Extra variables as a JSON object ("{}" for none): tools, documents, enable_thinking and so on.
  // They may replace special tokens, and nothing else above. `tools` and `documents` are none
  // unless given here.
  std::string extra_variables_json = "{}";
};

// A parsed template. Immutable and thread-safe.
class ChatTemplate {
 public:
  // INVALID_ARGUMENT for a syntax error, UNIMPLEMENTED for a construct outside of the subset; both
  // give line and column. Every error that the text
  // alone shows is reported here: unknown tags, filters, tests and global functions.
  // RESOURCE_EXHAUSTED for a template that is nested too deeply (limits.h).
  // `for_tools` is rendered instead where the variable `tools` is there and not none.
  static absl::StatusOr<ChatTemplate> Parse(
      std::string_view source, std::optional<std::string_view> for_tools = std::nullopt);

  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // INVALID_ARGUMENT when the template calls raise_exception() (with its message) or an operation
  // fails on its operands; UNIMPLEMENTED for a method of Python that is outside of the subset,
  // which only the values reveal; RESOURCE_EXHAUSTED past the bounds on steps, depth and output
  // size (limits.h): these name line and column. INVALID_ARGUMENT also for text that is not
  // UTF-8 and for JSON that is malformed, with the name of the message or option, and for a last
  // message to continue that the template does not write as it is.
  absl::StatusOr<std::string> Render(absl::Span<const ChatMessage> messages,
                                     const ChatTemplateOptions& options) const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_JINJA_CHAT_TEMPLATE_H_
