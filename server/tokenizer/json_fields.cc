#include "server/tokenizer/json_fields.h"

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/tokenizer/utf8.h"

namespace shira {
namespace {

absl::Status WrongType(const char* key, std::string_view where, std::string_view expected,
                       const nlohmann::json& found) {
  return absl::InvalidArgumentError(
      StrCat(where, ".", key, " is of type ", found.type_name(), ", expected ", expected));
}

}  // namespace

absl::StatusOr<const nlohmann::json*> JsonMember(const nlohmann::json& object, const char* key,
                                                 std::string_view where) {
  if (!object.is_object()) {
    return absl::InvalidArgumentError(
        StrCat(where, " is of type ", object.type_name(), ", expected an object"));
  }
  const auto member = object.find(key);
  if (member == object.end()) {
    return absl::InvalidArgumentError(StrCat(where, " has no member '", key, "'"));
  }
  return &*member;
}

absl::StatusOr<std::string> JsonString(const nlohmann::json& object, const char* key,
                                       std::string_view where) {
  SHIRA_ASSIGN_OR_RETURN(const nlohmann::json* member, JsonMember(object, key, where));
  if (!member->is_string()) return WrongType(key, where, "a string", *member);
  return member->get<std::string>();
}

absl::StatusOr<bool> JsonBool(const nlohmann::json& object, const char* key, std::string_view where,
                              std::optional<bool> absent) {
  if (absent.has_value() && object.is_object() && !object.contains(key)) return *absent;
  SHIRA_ASSIGN_OR_RETURN(const nlohmann::json* member, JsonMember(object, key, where));
  if (!member->is_boolean()) return WrongType(key, where, "a boolean", *member);
  return member->get<bool>();
}

absl::StatusOr<uint64_t> JsonCount(const nlohmann::json& object, const char* key,
                                   std::string_view where) {
  SHIRA_ASSIGN_OR_RETURN(const nlohmann::json* member, JsonMember(object, key, where));
  if (!member->is_number_unsigned()) return WrongType(key, where, "a count", *member);
  return member->get<uint64_t>();
}

absl::StatusOr<char32_t> JsonCharacter(const nlohmann::json& object, const char* key,
                                       std::string_view where) {
  SHIRA_ASSIGN_OR_RETURN(const std::string text, JsonString(object, key, where));
  size_t end = 0;
  const char32_t character = text.empty() ? 0 : NextCharacter(text, &end);
  if (text.empty() || end != text.size()) {
    return absl::InvalidArgumentError(
        StrCat(where, ".", key, " is '", text, "', expected one character"));
  }
  return character;
}

absl::StatusOr<const nlohmann::json*> JsonArray(const nlohmann::json& object, const char* key,
                                                std::string_view where) {
  SHIRA_ASSIGN_OR_RETURN(const nlohmann::json* member, JsonMember(object, key, where));
  if (!member->is_array()) return WrongType(key, where, "an array", *member);
  return member;
}

absl::StatusOr<int32_t> JsonTokenId(const nlohmann::json& value, std::string_view where) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > static_cast<uint64_t>(kMaxTokenId)) {
    return absl::InvalidArgumentError(
        StrCat(where, " is ", value.dump(), ", expected a token id from 0 to ", kMaxTokenId));
  }
  return static_cast<int32_t>(value.get<uint64_t>());
}

absl::Status CheckComponent(const nlohmann::json& component, std::string_view where, int depth) {
  if (depth > kMaxComponentDepth) {
    return absl::InvalidArgumentError(
        StrCat(where, " is nested more than ", kMaxComponentDepth, " deep"));
  }
  if (component.is_object()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      StrCat(where, " is of type ", component.type_name(), ", expected an object"));
}

absl::StatusOr<std::string> ComponentType(const nlohmann::json& component, std::string_view where,
                                          int depth) {
  SHIRA_RETURN_IF_ERROR(CheckComponent(component, where, depth));
  return JsonString(component, "type", where);
}

absl::Status UnknownComponent(std::string_view where, std::string_view type,
                              std::string_view known) {
  return absl::UnimplementedError(StrCat(where, " is of type '", type,
                                         "', which this program does not know; it knows ", known));
}

}  // namespace shira
