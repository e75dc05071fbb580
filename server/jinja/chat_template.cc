#include "server/jinja/chat_template.h"

#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/jinja/interpreter.h"
#include "server/jinja/json.h"
#include "server/jinja/parser.h"
#include "server/jinja/text.h"
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

// Stands behind the content that is to be continued, so that its end is found in what the template
// writes. transformers' own, for templates that look at their messages. The space at the end tells
// whether the template strips white space.
constexpr std::string_view kTag = "CONTINUE_FINAL_MESSAGE_TAG ";

absl::StatusOr<Value> MessageValue(const ChatMessage& message, size_t index,
                                   std::string_view behind_content) {
  const std::string what = StrCat("message ", index);
  SHIRA_RETURN_IF_ERROR(CheckUtf8(message.role, what));
  SHIRA_RETURN_IF_ERROR(CheckUtf8(message.content, what));
  Dict dict;
  dict.Set("role", Value::String(message.role));
  dict.Set("content", Value::String(StrCat(message.content, behind_content)));
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

absl::StatusOr<std::string> ChatTemplate::Render(absl::Span<const ChatMessage> messages,
                                                 const ChatTemplateOptions& options) const {
  if (options.continue_last_message && messages.empty()) {
    return absl::InvalidArgumentError("there is no last message to continue");
  }
  std::vector<Value> message_values;
  for (const ChatMessage& message : messages) {
    const bool continued = options.continue_last_message && &message == &messages.back();
    SHIRA_ASSIGN_OR_RETURN(Value value, MessageValue(message, message_values.size(),
                                                     continued ? kTag : std::string_view()));
    message_values.push_back(std::move(value));
  }
  SHIRA_ASSIGN_OR_RETURN(Dict variables,
                         ParseObject(options.extra_variables_json, "extra variables"));
  for (const std::string_view name : {"messages", "add_generation_prompt"}) {
    if (variables.Find(name) != nullptr) {
      return absl::InvalidArgumentError(
          StrCat("extra variables: '", name, "' is an option of its own"));
    }
  }
  variables.Set("messages", Value::List(std::move(message_values)));
  variables.Set("add_generation_prompt", Value::Bool(options.add_generation_prompt));
  for (const NamedToken& token : options.special_tokens) {
    SHIRA_RETURN_IF_ERROR(CheckUtf8(token.text, token.name));
    if (variables.Find(token.name) == nullptr) {
      variables.Set(token.name, Value::String(token.text));
    }
  }
  // transformers defines both always.
  for (const std::string_view name : {"tools", "documents"}) {
    if (variables.Find(name) == nullptr) variables.Set(std::string(name), Value::None());
  }
  const bool has_tools = variables.Find("tools")->kind() != jinja::Kind::kNone;
  const Impl::Template& chosen =
      has_tools && impl_->for_tools.has_value() ? *impl_->for_tools : impl_->standard;
  if (options.continue_last_message && !chosen.names_content) {
    return absl::InvalidArgumentError("the chat template writes no content to continue");
  }
  SHIRA_ASSIGN_OR_RETURN(std::string rendered,
                         jinja::RenderTemplate(chosen.block, variables, options.now));
  if (!options.continue_last_message) return rendered;
  return CutBehindContent(std::move(rendered), messages.back().content);
}

}  // namespace shira
