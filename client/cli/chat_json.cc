#include "client/cli/chat_json.h"

#include <array>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace shira::cli {
namespace {

constexpr int kMaxDepth = 64;

// Reads a text without building anything, up to what is wrong with it.
class Checker final : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t& text) override {
    if (text.find_first_of(".eE") != std::string::npos) return true;
    problem_ = absl::StrCat("the integer ", text, " has more than 64 bits");
    return false;
  }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override { return Open(); }
  bool start_array(std::size_t) override { return Open(); }
  bool key(string_t&) override { return true; }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    problem_ = absl::StrCat("malformed JSON at byte ", position);
    return false;
  }

  const std::string& problem() const { return problem_; }

 private:
  bool Open() {
    if (++depth_ <= kMaxDepth) return true;
    problem_ = absl::StrCat("JSON nested in more than ", kMaxDepth, " levels");
    return false;
  }
  bool Close() {
    --depth_;
    return true;
  }

  int depth_ = 0;
  std::string problem_;
};

struct TextField {
  absl::string_view name;
  std::string* (v1::ChatMessage::*text)();
};
constexpr std::array<TextField, 4> kTextFields = {{
    {"role", &v1::ChatMessage::mutable_role},
    {"reasoning_content", &v1::ChatMessage::mutable_reasoning_content},
    {"tool_call_id", &v1::ChatMessage::mutable_tool_call_id},
    {"name", &v1::ChatMessage::mutable_name},
}};

// Each of these is false, and the message as it was, for what has no place in the API.

bool SetContent(const Json& json, v1::ChatMessage& message) {
  if (json.is_string()) {
    message.set_content(json.get<std::string>());
    return true;
  }
  if (!json.is_array()) return false;
  v1::ContentParts parts;
  for (const Json& part : json) {
    const bool is_text = part.is_object() && part.size() == 2 && part.contains("type") &&
                         part["type"] == "text" && part.contains("text") &&
                         part["text"].is_string();
    if (!is_text) return false;
    parts.add_parts()->set_text(part["text"].get<std::string>());
  }
  *message.mutable_content_parts() = std::move(parts);
  return true;
}

bool SetFunction(const Json& json, v1::ToolCall& call) {
  if (!json.is_object() || json.size() != 2 || !json.contains("name") ||
      !json.contains("arguments") || !json["name"].is_string()) {
    return false;
  }
  const Json& arguments = json["arguments"];
  if (!arguments.is_object() && !arguments.is_string()) return false;
  call.set_name(json["name"].get<std::string>());
  call.set_arguments_json(arguments.is_string() ? arguments.get<std::string>() : arguments.dump());
  return true;
}

bool SetCall(const Json& json, v1::ToolCall& call) {
  if (!json.is_object() || !json.contains("function")) return false;
  for (const auto& [key, value] : json.items()) {
    if (key == "function") {
      if (!SetFunction(value, call)) return false;
    } else if (key == "id" && value.is_string() && !value.get_ref<const std::string&>().empty()) {
      call.set_id(value.get<std::string>());
    } else if (key != "type" || value != "function") {
      return false;
    }
  }
  return true;
}

bool SetCalls(const Json& json, v1::ChatMessage& message) {
  if (!json.is_array() || json.empty()) return false;
  google::protobuf::RepeatedPtrField<v1::ToolCall> calls;
  for (const Json& call : json) {
    if (!SetCall(call, *calls.Add())) return false;
  }
  message.mutable_tool_calls()->Swap(&calls);
  return true;
}

bool SetField(absl::string_view name, const Json& value, v1::ChatMessage& message) {
  if (name == "content") return SetContent(value, message);
  if (name == "tool_calls") return SetCalls(value, message);
  for (const TextField& field : kTextFields) {
    if (field.name != name || !value.is_string()) continue;
    *(message.*field.text)() = value.get<std::string>();
    return true;
  }
  return false;
}

// The text itself where it is no JSON.
Json ValueOf(const std::string& text) {
  Json value = Json::parse(text, /*callback=*/nullptr, /*allow_exceptions=*/false);
  return value.is_discarded() ? Json(text) : value;
}

Json ToolCallToJson(const v1::ToolCall& call) {
  Json json = Json::object();
  if (!call.id().empty()) json["id"] = call.id();
  json["type"] = "function";
  const std::string& arguments = call.arguments_json();
  json["function"] = {{"name", call.name()},
                      {"arguments", arguments.empty() ? Json::object() : ValueOf(arguments)}};
  return json;
}

}  // namespace

absl::StatusOr<Json> ParseJson(absl::string_view text) {
  Checker checker;
  if (!Json::sax_parse(text.begin(), text.end(), &checker)) {
    return absl::InvalidArgumentError(checker.problem());
  }
  return Json::parse(text.begin(), text.end(), /*callback=*/nullptr, /*allow_exceptions=*/false);
}

absl::StatusOr<v1::ChatMessage> MessageFromJson(const Json& json) {
  if (!json.is_object() || !json.contains("role") || !json["role"].is_string()) {
    return absl::InvalidArgumentError("expected an object with a role");
  }
  v1::ChatMessage message;
  Json more = Json::object();
  for (const auto& [name, value] : json.items()) {
    if (!value.is_null() && !SetField(name, value, message)) more[name] = value;
  }
  if (!more.empty()) message.set_more_fields_json(more.dump());
  return message;
}

Json ToJson(const v1::ChatMessage& message) {
  Json json = {{"role", message.role()}};
  if (message.has_content()) json["content"] = message.content();
  if (message.has_content_parts()) {
    json["content"] = Json::array();
    for (const v1::ContentPart& part : message.content_parts().parts()) {
      json["content"].push_back({{"type", "text"}, {"text", part.text()}});
    }
  }
  if (message.has_reasoning_content()) json["reasoning_content"] = message.reasoning_content();
  for (const v1::ToolCall& call : message.tool_calls())
    json["tool_calls"].push_back(ToolCallToJson(call));
  if (message.has_tool_call_id()) json["tool_call_id"] = message.tool_call_id();
  if (message.has_name()) json["name"] = message.name();
  if (!message.more_fields_json().empty()) json.update(ValueOf(message.more_fields_json()));
  return json;
}

}  // namespace shira::cli
