#include "server/jinja/chat_template.h"

#include <array>
#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/jinja/interpreter.h"
#include "server/jinja/parser.h"
#include "server/jinja/text.h"
#include "server/tokenizer/utf8.h"

namespace shira {
namespace {

using jinja::Dict;
using jinja::Value;

// Stands behind the content that is to be continued, so that its end is found in what the template
// writes. transformers' own, for templates that look at their messages. The space at the end tells
// whether the template strips white space.
constexpr std::string_view kTag = "CONTINUE_FINAL_MESSAGE_TAG ";

// Where a message has what the assistant thought. transformers fills the first two from the first
// that is there, so that templates find it under either name.
constexpr std::array<std::string_view, 3> kReasoningFields = {"reasoning_content", "thinking",
                                                              "reasoning"};

Value WithReasoning(Value message) {
  if (message.kind() != jinja::Kind::kDict) return message;
  const Dict& fields = message.dict();
  const Value* reasoning = nullptr;
  for (const std::string_view name : kReasoningFields) {
    reasoning = fields.Find(name);
    if (reasoning != nullptr && !reasoning->is_none()) break;
    reasoning = nullptr;
  }
  if (reasoning == nullptr) return message;
  // In the order of transformers, for templates that write a message as it is.
  Dict filled;
  filled.Set("thinking", *reasoning);
  for (const auto& [name, value] : fields.entries()) filled.Set(name.text(), value);
  filled.Set("reasoning_content", *reasoning);
  return Value::FromDict(std::move(filled));
}

// A message with kTag behind the text that is continued.
struct OpenMessage {
  Value message;
  std::string text;  // as it was
};

Value WithEntry(const Value& dict, std::string key, Value value) {
  Dict changed = dict.dict();
  changed.Set(std::move(key), std::move(value));
  return Value::FromDict(std::move(changed));
}

// `holder` with kTag behind its text `key`; nullopt where that is no text.
std::optional<OpenMessage> OpenText(const Value& holder, std::string_view key) {
  if (holder.kind() != jinja::Kind::kDict) return std::nullopt;
  const Value* text = holder.dict().Find(key);
  if (text == nullptr || !text->is_string()) return std::nullopt;
  Value open = Value::String(StrCat(text->text(), kTag));
  return OpenMessage{WithEntry(holder, std::string(key), std::move(open)), text->text()};
}

absl::StatusOr<OpenMessage> LeaveOpen(const Value& message) {
  if (std::optional<OpenMessage> open = OpenText(message, "content")) return *std::move(open);
  const Value* parts =
      message.kind() == jinja::Kind::kDict ? message.dict().Find("content") : nullptr;
  if (parts != nullptr && parts->is_sequence()) {
    std::vector<Value> changed = parts->items();
    for (auto part = changed.rbegin(); part != changed.rend(); ++part) {
      std::optional<OpenMessage> open = OpenText(*part, "text");
      if (!open.has_value()) continue;
      *part = std::move(open->message);
      return OpenMessage{WithEntry(message, "content", Value::List(std::move(changed))),
                         std::move(open->text)};
    }
  }
  return absl::InvalidArgumentError(
      "the last message cannot be continued: its content has no text");
}

// What was rendered, up to the end of the last message's content.
absl::StatusOr<std::string> CutBehindContent(std::string rendered, std::string_view content) {
  const std::string_view tag = kTag.substr(0, kTag.size() - 1);
  const size_t place = rendered.rfind(tag);
  const std::string_view words = jinja::Strip(content, jinja::Side::kBoth);
  if (place == rendered.npos || rendered.find(words) == rendered.npos) {
    return absl::InvalidArgumentError(
        "the last message cannot be continued: the chat template does not write its content as it "
        "is");
  }
  const bool stripped = rendered.compare(place, kTag.size(), kTag) != 0;
  rendered.resize(place);
  if (stripped) rendered.resize(jinja::Strip(rendered, jinja::Side::kRight).size());
  return rendered;
}

}  // namespace

struct ChatTemplate::Impl {
  struct Template {
    jinja::Block block;
    bool names_content;  // whether it can write a message's content at all
  };
  Template standard;
  std::optional<Template> for_tools;
};

ChatTemplate::ChatTemplate(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

absl::StatusOr<ChatTemplate> ChatTemplate::Parse(std::string_view source,
                                                 std::optional<std::string_view> for_tools) {
  const auto parse = [](std::string_view text) -> absl::StatusOr<Impl::Template> {
    SHIRA_ASSIGN_OR_RETURN(jinja::Block block, jinja::ParseTemplate(text));
    return Impl::Template{std::move(block), text.find("content") != text.npos};
  };
  auto impl = std::make_unique<Impl>();
  SHIRA_ASSIGN_OR_RETURN(impl->standard, parse(source));
  if (for_tools.has_value()) {
    SHIRA_ASSIGN_OR_RETURN(impl->for_tools, parse(*for_tools));
  }
  return ChatTemplate(std::move(impl));
}

absl::StatusOr<std::string> ChatTemplate::Render(ChatTemplateInput input,
                                                 const ChatTemplateOptions& options) const {
  const bool has_tools = !input.tools.is_none();
  const Impl::Template& chosen =
      has_tools && impl_->for_tools.has_value() ? *impl_->for_tools : impl_->standard;
  for (Value& message : input.messages) message = WithReasoning(std::move(message));
  std::string continued;
  if (options.continue_last_message) {
    if (input.messages.empty()) {
      return absl::InvalidArgumentError("there is no last message to continue");
    }
    if (!chosen.names_content) {
      return absl::InvalidArgumentError("the chat template writes no content to continue");
    }
    SHIRA_ASSIGN_OR_RETURN(OpenMessage open, LeaveOpen(input.messages.back()));
    input.messages.back() = std::move(open.message);
    continued = std::move(open.text);
  }
  Dict& variables = input.variables;
  for (const NamedToken& token : options.special_tokens) {
    if (FirstInvalidUtf8(token.text)) {
      return absl::InvalidArgumentError(StrCat(token.name, ": the text is not valid UTF-8"));
    }
    if (variables.Find(token.name) == nullptr) {
      variables.Set(token.name, Value::String(token.text));
    }
  }
  variables.Set("messages", Value::List(std::move(input.messages)));
  variables.Set("tools", std::move(input.tools));
  variables.Set("documents", std::move(input.documents));
  variables.Set("add_generation_prompt", Value::Bool(options.add_generation_prompt));
  SHIRA_ASSIGN_OR_RETURN(std::string rendered,
                         jinja::RenderTemplate(chosen.block, variables, options.now));
  if (!options.continue_last_message) return rendered;
  return CutBehindContent(std::move(rendered), continued);
}

}  // namespace shira
