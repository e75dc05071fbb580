#include "server/tokenizer/metaspace.h"

#include <string>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/tokenizer/json_fields.h"

namespace shira {
namespace {

bool IsSet(const nlohmann::json& json, const char* key) {
  const auto member = json.find(key);
  return member != json.end() && !member->is_null();
}

absl::StatusOr<Metaspace::Prepend> PrependOf(const std::string& name, std::string_view where) {
  if (name == "always") return Metaspace::Prepend::kAlways;
  if (name == "first") return Metaspace::Prepend::kFirst;
  if (name == "never") return Metaspace::Prepend::kNever;
  return absl::InvalidArgumentError(
      StrCat(where, ".prepend_scheme is '", name, "', expected always, first or never"));
}

}  // namespace

absl::StatusOr<Metaspace> Metaspace::FromJson(const nlohmann::json& json, std::string_view where) {
  Metaspace result;
  SHIRA_ASSIGN_OR_RETURN(result.replacement, JsonCharacter(json, "replacement", where));
  if (json.contains("prepend_scheme")) {
    SHIRA_ASSIGN_OR_RETURN(const std::string name, JsonString(json, "prepend_scheme", where));
    SHIRA_ASSIGN_OR_RETURN(result.prepend, PrependOf(name, where));
  }
  // What old files have in its place.
  if (IsSet(json, "add_prefix_space")) {
    SHIRA_ASSIGN_OR_RETURN(const bool add_prefix_space, JsonBool(json, "add_prefix_space", where));
    const bool never = result.prepend == Prepend::kNever;
    if (!add_prefix_space && json.contains("prepend_scheme") && !never) {
      return absl::InvalidArgumentError(
          StrCat(where, ".add_prefix_space contradicts prepend_scheme"));
    }
    if (!add_prefix_space) result.prepend = Prepend::kNever;
  }
  if (IsSet(json, "split")) {
    SHIRA_ASSIGN_OR_RETURN(result.split, JsonBool(json, "split", where));
  }
  return result;
}

}  // namespace shira
