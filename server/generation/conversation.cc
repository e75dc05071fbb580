#include "server/generation/conversation.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/jinja/json.h"
#include "server/tokenizer/utf8.h"

namespace shira {
namespace {

using jinja::Dict;
using jinja::JsonReader;
using jinja::Value;

std::string Indexed(std::string_view field, size_t index) { return StrCat(field, "[", index, "]"); }

absl::Status Problem(std::string_view field, std::string_view problem) {
  FieldProblems problems;
  problems.Add(field, problem);
  return problems.ToStatus();
}

absl::StatusOr<Value> Text(const std::string& text, const std::string& field) {
  if (FirstInvalidUtf8(text)) return Problem(field, "is not valid UTF-8");
  return Value::String(text);
}

absl::StatusOr<Value> JsonObject(JsonReader& reader, std::string_view json,
                                 const std::string& field) {
  absl::StatusOr<Value> value = reader.Read(json);
  if (!value.ok()) return Problem(field, ToStd(value.status().message()));
  if (value->kind() != jinja::Kind::kDict) {
    return Problem(field,
                   StrCat("expected a JSON object, found a '", jinja::TypeName(*value), "'"));
  }
  return value;
}

// A list of objects, or none where there are none.
absl::StatusOr<Value> JsonObjects(JsonReader& reader, const std::vector<std::string>& texts,
                                  std::string_view field) {
  if (texts.empty()) return Value::None();
  std::vector<Value> values;
  for (const std::string& text : texts) {
    SHIRA_ASSIGN_OR_RETURN(Value value, JsonObject(reader, text, Indexed(field, values.size())));
    values.push_back(std::move(value));
  }
  return Value::List(std::move(values));
}

absl::StatusOr<Value> Content(const std::vector<ContentPart>& parts, std::string_view field) {
  std::vector<Value> values;
  for (const ContentPart& part : parts) {
    Dict dict;
    dict.Set("type", Value::String("text"));
    SHIRA_ASSIGN_OR_RETURN(Value text, Text(*part.text, Indexed(field, values.size())));
    dict.Set("text", std::move(text));
    values.push_back(Value::FromDict(std::move(dict)));
  }
  return Value::List(std::move(values));
}

// In the order of OpenAI's API, since some templates write a call as it is.
absl::StatusOr<Value> CallValue(JsonReader& reader, const ToolCall& call,
                                const std::string& field) {
  Dict function;
  SHIRA_ASSIGN_OR_RETURN(Value name, Text(call.name, field + ".name"));
  function.Set("name", std::move(name));
  std::string_view json = call.arguments_json;
  if (json.empty()) json = "{}";
  SHIRA_ASSIGN_OR_RETURN(Value arguments, JsonObject(reader, json, field + ".arguments_json"));
  function.Set("arguments", std::move(arguments));
  Dict dict;
  if (!call.id.empty()) {
    SHIRA_ASSIGN_OR_RETURN(Value id, Text(call.id, field + ".id"));
    dict.Set("id", std::move(id));
  }
  dict.Set("type", Value::String("function"));
  dict.Set("function", Value::FromDict(std::move(function)));
  return Value::FromDict(std::move(dict));
}

// The fields of one message, in their order.
class MessageBuilder {
 public:
  MessageBuilder(JsonReader& reader, std::string field)
      : reader_(reader), field_(std::move(field)) {}

  absl::StatusOr<Value> Build(const ChatMessage& message) && {
    SHIRA_RETURN_IF_ERROR(Set("role", message.role));
    if (const auto* text = std::get_if<std::string>(&message.content)) {
      SHIRA_RETURN_IF_ERROR(Set("content", *text));
    } else if (const auto* parts = std::get_if<std::vector<ContentPart>>(&message.content)) {
      SHIRA_ASSIGN_OR_RETURN(Value content, Content(*parts, field_ + ".content_parts.parts"));
      dict_.Set("content", std::move(content));
    }
    SHIRA_RETURN_IF_ERROR(SetIfThere("reasoning_content", message.reasoning_content));
    SHIRA_RETURN_IF_ERROR(SetCalls(message.tool_calls));
    SHIRA_RETURN_IF_ERROR(SetIfThere("tool_call_id", message.tool_call_id));
    SHIRA_RETURN_IF_ERROR(SetIfThere("name", message.name));
    SHIRA_RETURN_IF_ERROR(SetMore(message.more_fields_json));
    return Value::FromDict(std::move(dict_));
  }

 private:
  absl::Status Set(std::string_view name, const std::string& text) {
    SHIRA_ASSIGN_OR_RETURN(Value value, Text(text, StrCat(field_, ".", name)));
    dict_.Set(std::string(name), std::move(value));
    return absl::OkStatus();
  }

  absl::Status SetIfThere(std::string_view name, const std::optional<std::string>& text) {
    return text.has_value() ? Set(name, *text) : absl::OkStatus();
  }

  absl::Status SetCalls(const std::vector<ToolCall>& calls) {
    if (calls.empty()) return absl::OkStatus();
    std::vector<Value> values;
    for (const ToolCall& call : calls) {
      SHIRA_ASSIGN_OR_RETURN(
          Value value, CallValue(reader_, call, Indexed(field_ + ".tool_calls", values.size())));
      values.push_back(std::move(value));
    }
    dict_.Set("tool_calls", Value::List(std::move(values)));
    return absl::OkStatus();
  }

  absl::Status SetMore(const std::string& json) {
    if (json.empty()) return absl::OkStatus();
    const std::string field = field_ + ".more_fields_json";
    SHIRA_ASSIGN_OR_RETURN(const Value more, JsonObject(reader_, json, field));
    for (const auto& [name, value] : more.dict().entries()) {
      if (value.is_none()) continue;  // is no field to apply_chat_template
      if (dict_.Find(name.text()) != nullptr) {
        return Problem(field, StrCat("'", name.text(), "' is set in a field of its own"));
      }
      SHIRA_RETURN_IF_ERROR(dict_.Set(name, value));
    }
    return absl::OkStatus();
  }

  JsonReader& reader_;
  const std::string field_;
  Dict dict_;
};

absl::StatusOr<Dict> Variables(JsonReader& reader, const std::string& json) {
  if (json.empty()) return Dict();
  const std::string field = "chat.template_variables_json";
  SHIRA_ASSIGN_OR_RETURN(const Value variables, JsonObject(reader, json, field));
  for (const std::string_view name : kChatTemplateArguments) {
    if (variables.dict().Find(name) == nullptr) continue;
    return Problem(field, StrCat("'", name, "' has a field of its own in the conversation"));
  }
  return variables.dict();
}

void CheckCount(std::string_view field, size_t count, size_t most, FieldProblems& problems) {
  if (count <= most) return;
  problems.Add(field, StrCat("has ", count, " entries, more than ", most));
}

void CheckMessage(const ConversationLimits& limits, const std::string& field,
                  const ChatMessage& message, FieldProblems& problems) {
  CheckCount(field + ".tool_calls", message.tool_calls.size(), limits.max_tool_calls, problems);
  const auto* parts = std::get_if<std::vector<ContentPart>>(&message.content);
  if (parts == nullptr) return;
  const std::string parts_field = field + ".content_parts.parts";
  CheckCount(parts_field, parts->size(), limits.max_content_parts, problems);
  const auto unknown = std::find_if(parts->begin(), parts->end(),
                                    [](const ContentPart& part) { return !part.text.has_value(); });
  if (unknown == parts->end()) return;
  problems.Add(Indexed(parts_field, unknown - parts->begin()), "is of no kind that is known: text");
}

}  // namespace

void CheckConversation(const ConversationLimits& limits, const Conversation& chat,
                       FieldProblems& problems) {
  CheckCount("chat.tools_json", chat.tools_json.size(), limits.max_tools, problems);
  CheckCount("chat.documents_json", chat.documents_json.size(), limits.max_documents, problems);
  if (chat.messages.empty()) problems.Add("chat.messages", "is empty");
  CheckCount("chat.messages", chat.messages.size(), limits.max_messages, problems);
  for (size_t i = 0; i < std::min(chat.messages.size(), limits.max_messages); ++i) {
    CheckMessage(limits, Indexed("chat.messages", i), chat.messages[i], problems);
  }
}

size_t TextBytes(const Conversation& chat) {
  const auto size = [](const std::optional<std::string>& text) {
    return text.has_value() ? text->size() : 0;
  };
  size_t bytes = chat.template_variables_json.size();
  for (const std::string& tool : chat.tools_json) bytes += tool.size();
  for (const std::string& document : chat.documents_json) bytes += document.size();
  for (const ChatMessage& message : chat.messages) {
    bytes += message.role.size() + message.more_fields_json.size();
    if (const auto* text = std::get_if<std::string>(&message.content)) bytes += text->size();
    if (const auto* parts = std::get_if<std::vector<ContentPart>>(&message.content)) {
      for (const ContentPart& part : *parts) bytes += size(part.text);
    }
    bytes += size(message.reasoning_content) + size(message.tool_call_id) + size(message.name);
    for (const ToolCall& call : message.tool_calls) {
      bytes += call.id.size() + call.name.size() + call.arguments_json.size();
    }
  }
  return bytes;
}

absl::StatusOr<ChatTemplateInput> SeenByTemplate(const Conversation& chat) {
  JsonReader reader;
  ChatTemplateInput input;
  for (const ChatMessage& message : chat.messages) {
    MessageBuilder builder(reader, Indexed("chat.messages", input.messages.size()));
    SHIRA_ASSIGN_OR_RETURN(Value value, std::move(builder).Build(message));
    input.messages.push_back(std::move(value));
  }
  SHIRA_ASSIGN_OR_RETURN(input.tools, JsonObjects(reader, chat.tools_json, "chat.tools_json"));
  SHIRA_ASSIGN_OR_RETURN(input.documents,
                         JsonObjects(reader, chat.documents_json, "chat.documents_json"));
  SHIRA_ASSIGN_OR_RETURN(input.variables, Variables(reader, chat.template_variables_json));
  return input;
}

}  // namespace shira
