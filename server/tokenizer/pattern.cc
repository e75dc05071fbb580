#include "server/tokenizer/pattern.h"

#include <string>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/tokenizer/json_fields.h"

namespace shira {

absl::StatusOr<Regex> PatternFromJson(const nlohmann::json& component, std::string_view where) {
  SHIRA_ASSIGN_OR_RETURN(const std::string literal, LiteralOfPattern(component, where));
  if (!literal.empty()) return Regex::Literal(literal);
  const std::string place = StrCat(where, ".pattern");
  SHIRA_ASSIGN_OR_RETURN(const std::string text, JsonString(component["pattern"], "Regex", place));
  if (text.empty()) return absl::InvalidArgumentError(StrCat(place, " is empty"));
  absl::StatusOr<Regex> regex = Regex::Compile(text);
  if (!regex.ok()) {
    return absl::Status(regex.status().code(),
                        ToAbsl(StrCat(place, ": ", ToStd(regex.status().message()))));
  }
  return regex;
}

absl::StatusOr<std::string> LiteralOfPattern(const nlohmann::json& component,
                                             std::string_view where) {
  SHIRA_ASSIGN_OR_RETURN(const nlohmann::json* pattern, JsonMember(component, "pattern", where));
  if (!pattern->is_object() || !pattern->contains("String")) return std::string();
  const std::string place = StrCat(where, ".pattern");
  SHIRA_ASSIGN_OR_RETURN(std::string text, JsonString(*pattern, "String", place));
  if (text.empty()) return absl::InvalidArgumentError(StrCat(place, " is empty"));
  return text;
}

}  // namespace shira
