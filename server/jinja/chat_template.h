// File: server/jinja/chat_template.h
//
// Renders a conversation into the prompt that a chat model was trained on, with the model's own
// Jinja template. The subset of Jinja that chat templates use, with the settings that transformers
// uses (trim_blocks, lstrip_blocks, sandboxed, no undefined checks).

#ifndef SHIRA_SERVER_JINJA_CHAT_TEMPLATE_H_
#define SHIRA_SERVER_JINJA_CHAT_TEMPLATE_H_

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/jinja/value.h"
#include "server/tokenizer/tokenizer.h"

namespace shira {

// What is rendered, as transformers' apply_chat_template takes it. Texts are UTF-8.
struct ChatTemplateInput {
  // Dicts with `role`, `content` and so on. The template finds `reasoning_content`, `thinking` or
  // `reasoning` under the first two names.
  std::vector<jinja::Value> messages = {};
  jinja::Value tools = jinja::Value::None();      // a list of dicts, or none
  jinja::Value documents = jinja::Value::None();  // the same
  // Further variables, enable_thinking and so on, whose names are none of
  // kChatTemplateArguments. They may replace special tokens.
  jinja::Dict variables = {};
};

// The variables that every template sees, whatever the further ones are.
inline constexpr std::array<std::string_view, 4> kChatTemplateArguments = {
    "messages", "tools", "documents", "add_generation_prompt"};

struct ChatTemplateOptions {
  // Ends the prompt where the assistant's answer begins.
  bool add_generation_prompt = true;
  // Ends the prompt where the last message's content ends, by cutting what the template writes
  // behind it: transformers' continue_final_message. Of a list of parts the last text is continued.
  // REQUIRES: not add_generation_prompt.
  bool continue_last_message = false;
  // Variables of these names. Another name is undefined, as transformers leaves a token that the
  // tokenizer lacks.
  std::vector<NamedToken> special_tokens;
  // What strftime_now(format) formats, in the process's time zone (TZ).
  absl::Time now = absl::Now();
};

// A parsed template. Immutable and thread-safe.
class ChatTemplate {
 public:
  // INVALID_ARGUMENT for a syntax error, UNIMPLEMENTED for a construct outside of the subset; both
  // give line and column. Every error that the text
  // alone shows is reported here: unknown tags, filters, tests and global functions.
  // RESOURCE_EXHAUSTED for a template that is nested too deeply (limits.h).
  // `for_tools` is rendered instead where the input's `tools` are not none.
  static absl::StatusOr<ChatTemplate> Parse(
      std::string_view source, std::optional<std::string_view> for_tools = std::nullopt);

  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // INVALID_ARGUMENT when the template calls raise_exception() (with its message) or an operation
  // fails on its operands; UNIMPLEMENTED for a method of Python that is outside of the subset,
  // which only the values reveal; RESOURCE_EXHAUSTED past the bounds on steps, depth and output
  // size (limits.h): these name line and column. INVALID_ARGUMENT also for a special token that is
  // not UTF-8, with its name, and for a last message to continue that has no text or that the
  // template does not write as it is.
  absl::StatusOr<std::string> Render(ChatTemplateInput input,
                                     const ChatTemplateOptions& options) const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_JINJA_CHAT_TEMPLATE_H_
