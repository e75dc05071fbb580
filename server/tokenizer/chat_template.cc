#include "server/tokenizer/chat_template.h"

#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/tokenizer/jinja_interpreter.h"
#include "server/tokenizer/jinja_json.h"
#include "server/tokenizer/jinja_parser.h"
#include "server/tokenizer/jinja_text.h"
#include "server/tokenizer/utf8.h"

namespace shira {
namespace {

using jinja::Dict;
using jinja::Value;

absl::StatusOr<Dict> ParseObject(std::string_view json, std::string_view what) {
  const absl::StatusOr<Value> value = jinja::ParseJson(json);
  if (!value.ok()) {
    return absl::InvalidArgumentError(StrCat(what, ": ", value.status().message()));
  }
  if (value->kind() != jinja::Kind::kDict) {
    return absl::InvalidArgumentError(
        StrCat(what, ": expected a JSON object, found a '", jinja::TypeName(*value), "'"));
  }
  return value->dict();
}

absl::Status CheckUtf8(std::string_view text, std::string_view what) {
  if (!FirstInvalidUtf8(text)) return absl::OkStatus();
  return absl::InvalidArgumentError(StrCat(what, ": the text is not valid UTF-8"));
}

absl::StatusOr<Value> MessageValue(const ChatMessage& message, size_t index) {
  const std::string what = StrCat("message ", index);
  SHIRA_RETURN_IF_ERROR(CheckUtf8(message.role, what));
  SHIRA_RETURN_IF_ERROR(CheckUtf8(message.content, what));
  Dict dict;
  dict.Set("role", Value::String(message.role));
  dict.Set("content", Value::String(message.content));
  SHIRA_ASSIGN_OR_RETURN(const Dict extra, ParseObject(message.extra_fields_json, what));
  for (const auto& [name, value] : extra.entries()) {
    if (dict.Find(name.text()) != nullptr) {
      return absl::InvalidArgumentError(
          StrCat(what, ": the extra field '", name.text(), "' is a field of its own"));
    }
    SHIRA_RETURN_IF_ERROR(dict.Set(name, value));
  }
  return Value::FromDict(std::move(dict));
}

}  // namespace

struct ChatTemplate::Impl {
  jinja::Block block;
};

ChatTemplate::ChatTemplate(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

absl::StatusOr<ChatTemplate> ChatTemplate::Parse(std::string_view source) {
  SHIRA_ASSIGN_OR_RETURN(jinja::Block block, jinja::ParseTemplate(source));
  auto impl = std::make_unique<Impl>();
  impl->block = std::move(block);
  return ChatTemplate(std::move(impl));
}

absl::StatusOr<std::string> ChatTemplate::Render(absl::Span<const ChatMessage> messages,
                                                 const ChatTemplateOptions& options) const {
  std::vector<Value> message_values;
  for (const ChatMessage& message : messages) {
    SHIRA_ASSIGN_OR_RETURN(Value value, MessageValue(message, message_values.size()));
    message_values.push_back(std::move(value));
  }
  SHIRA_RETURN_IF_ERROR(CheckUtf8(options.bos_token, "bos_token"));
  SHIRA_RETURN_IF_ERROR(CheckUtf8(options.eos_token, "eos_token"));
  Dict own;
  own.Set("messages", Value::List(std::move(message_values)));
  own.Set("add_generation_prompt", Value::Bool(options.add_generation_prompt));
  if (!options.bos_token.empty()) own.Set("bos_token", Value::String(options.bos_token));
  if (!options.eos_token.empty()) own.Set("eos_token", Value::String(options.eos_token));
  SHIRA_ASSIGN_OR_RETURN(Dict variables,
                         ParseObject(options.extra_variables_json, "extra variables"));
  for (const auto& [name, value] : own.entries()) {
    if (variables.Find(name.text()) != nullptr) {
      return absl::InvalidArgumentError(
          StrCat("extra variables: '", name.text(), "' is an option of its own"));
    }
    SHIRA_RETURN_IF_ERROR(variables.Set(name, value));
  }
  // transformers defines both always.
  for (const std::string_view name : {"tools", "documents"}) {
    if (variables.Find(name) == nullptr) variables.Set(std::string(name), Value::None());
  }
  return jinja::RenderTemplate(impl_->block, variables, options.now);
}

}  // namespace shira
