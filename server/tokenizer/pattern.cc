#include "server/tokenizer/pattern.h"

#include <string>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/tokenizer/json_fields.h"

namespace shira {

absl::StatusOr<Regex> PatternFromJson(const nlohmann::json& component, std::string_view where) {
  SHIRA_ASSIGN_OR_RETURN(const nlohmann::json* pattern, JsonMember(component, "pattern", where));
  const std::string place = StrCat(where, ".pattern");
  const bool literal = pattern->is_object() && pattern->contains("String");
  SHIRA_ASSIGN_OR_RETURN(const std::string text,
                         JsonString(*pattern, literal ? "String" : "Regex", place));
  if (text.empty()) return absl::InvalidArgumentError(StrCat(place, " is empty"));
  absl::StatusOr<Regex> regex = literal ? Regex::Literal(text) : Regex::Compile(text);
  if (!regex.ok()) {
    return absl::Status(regex.status().code(),
                        ToAbsl(StrCat(place, ": ", ToStd(regex.status().message()))));
  }
  return regex;
}

}  // namespace shira
