#include "server/tokenizer/post_processor.h"

#include <string>
#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/tokenizer/json_fields.h"

namespace shira {
namespace {

// Appends the ids of the template's special token `name` to `ids`.
absl::Status AppendSpecialToken(const nlohmann::json& json, const std::string& name,
                                std::string_view where, std::vector<int32_t>& ids) {
  SHIRA_ASSIGN_OR_RETURN(const nlohmann::json* tokens, JsonMember(json, "special_tokens", where));
  const std::string place = StrCat(where, ".special_tokens");
  SHIRA_ASSIGN_OR_RETURN(const nlohmann::json* token, JsonMember(*tokens, name.c_str(), place));
  SHIRA_ASSIGN_OR_RETURN(const nlohmann::json* values, JsonArray(*token, "ids", place));
  for (const nlohmann::json& value : *values) {
    SHIRA_ASSIGN_OR_RETURN(const int32_t id,
                           JsonTokenId(value, StrCat(place, "['", name, "'].ids")));
    ids.push_back(id);
  }
  return absl::OkStatus();
}

absl::StatusOr<PostProcessor> FromTemplate(const nlohmann::json& json, std::string_view where) {
  SHIRA_ASSIGN_OR_RETURN(const nlohmann::json* pieces, JsonArray(json, "single", where));
  PostProcessor result;
  int texts = 0;
  for (const nlohmann::json& piece : *pieces) {
    const std::string place = StrCat(where, ".single");
    if (piece.is_object() && piece.contains("Sequence")) {
      ++texts;
      continue;
    }
    SHIRA_ASSIGN_OR_RETURN(const nlohmann::json* token, JsonMember(piece, "SpecialToken", place));
    SHIRA_ASSIGN_OR_RETURN(const std::string name, JsonString(*token, "id", place));
    SHIRA_RETURN_IF_ERROR(
        AppendSpecialToken(json, name, where, texts == 0 ? result.prefix : result.suffix));
  }
  if (texts != 1) {
    return absl::UnimplementedError(
        StrCat(where, ".single holds its text ", texts, " times, expected once"));
  }
  return result;
}

absl::StatusOr<PostProcessor> FromSequence(const nlohmann::json& json, std::string_view where,
                                           int depth) {
  SHIRA_ASSIGN_OR_RETURN(const nlohmann::json* elements, JsonArray(json, "processors", where));
  PostProcessor result;
  int index = 0;
  for (const nlohmann::json& element : *elements) {
    const std::string place = StrCat(where, ".processors[", index++, "]");
    SHIRA_ASSIGN_OR_RETURN(const PostProcessor outer,
                           PostProcessor::FromJson(element, place, depth + 1));
    result.prefix.insert(result.prefix.begin(), outer.prefix.begin(), outer.prefix.end());
    result.suffix.insert(result.suffix.end(), outer.suffix.begin(), outer.suffix.end());
  }
  return result;
}

// "cls" and "sep", each ["text", id], around the text.
absl::StatusOr<PostProcessor> FromClsAndSep(const nlohmann::json& json, std::string_view where) {
  PostProcessor result;
  for (const auto& [key, ids] : {std::pair("cls", &result.prefix), std::pair("sep", &result.suffix)}) {
    SHIRA_ASSIGN_OR_RETURN(const nlohmann::json* pair, JsonArray(json, key, where));
    if (pair->size() != 2 || !(*pair)[0].is_string()) {
      return absl::InvalidArgumentError(StrCat(where, ".", key, ": expected [text, id]"));
    }
    SHIRA_ASSIGN_OR_RETURN(const int32_t id, JsonTokenId((*pair)[1], StrCat(where, ".", key)));
    ids->push_back(id);
  }
  return result;
}

}  // namespace

absl::StatusOr<PostProcessor> PostProcessor::FromJson(const nlohmann::json& json,
                                                      std::string_view where, int depth) {
  if (json.is_null()) return PostProcessor();
  SHIRA_RETURN_IF_ERROR(CheckComponent(json, where, depth));
  if (json.contains("cls") && json.contains("sep")) return FromClsAndSep(json, where);
  if (json.contains("single")) return FromTemplate(json, where);
  if (json.contains("processors")) return FromSequence(json, where, depth);
  if (json.contains("add_prefix_space") && json.contains("trim_offsets")) return PostProcessor();
  SHIRA_ASSIGN_OR_RETURN(const std::string type, ComponentType(json, where, depth));
  return UnknownComponent(
      where, type,
      "TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel and Sequence with their "
      "members");
}

}  // namespace shira
