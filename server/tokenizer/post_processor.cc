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

// What a processor works on: lists of ids, in one of which the text stands. There is one list at
// first, and a template makes one of each of its pieces.
using Encodings = std::vector<std::vector<int32_t>>;
constexpr int32_t kText = -1;

absl::Status ApplyTemplate(const nlohmann::json& json, std::string_view where,
                           Encodings& encodings) {
  if (encodings.size() > 2) {
    return absl::UnimplementedError(
        StrCat(where, " is a template behind one of several pieces, which has no meaning"));
  }
  const char* const key = encodings.size() == 1 ? "single" : "pair";
  SHIRA_ASSIGN_OR_RETURN(const nlohmann::json* pieces, JsonArray(json, key, where));
  const std::string place = StrCat(where, ".", key);
  Encodings result;
  for (const nlohmann::json& piece : *pieces) {
    if (piece.is_object() && piece.contains("Sequence")) {
      SHIRA_ASSIGN_OR_RETURN(const nlohmann::json* id, JsonMember(piece["Sequence"], "id", place));
      const size_t index = *id == "A" ? 0 : 1;
      if (index >= encodings.size()) {
        return absl::UnimplementedError(StrCat(place, " holds a second text"));
      }
      result.push_back(encodings[index]);
      continue;
    }
    SHIRA_ASSIGN_OR_RETURN(const nlohmann::json* token, JsonMember(piece, "SpecialToken", place));
    SHIRA_ASSIGN_OR_RETURN(const std::string name, JsonString(*token, "id", place));
    SHIRA_RETURN_IF_ERROR(AppendSpecialToken(json, name, where, result.emplace_back()));
  }
  encodings = std::move(result);
  return absl::OkStatus();
}

// `json[key]`, ["text", id].
absl::StatusOr<int32_t> NamedId(const nlohmann::json& json, const char* key,
                                std::string_view where) {
  SHIRA_ASSIGN_OR_RETURN(const nlohmann::json* pair, JsonArray(json, key, where));
  if (pair->size() != 2 || !(*pair)[0].is_string()) {
    return absl::InvalidArgumentError(StrCat(where, ".", key, ": expected [text, id]"));
  }
  return JsonTokenId((*pair)[1], StrCat(where, ".", key));
}

// "cls" before the first of several, "sep" behind each and, as RoBERTa has it, before the others.
absl::Status ApplyClsAndSep(const nlohmann::json& json, std::string_view where,
                            Encodings& encodings) {
  SHIRA_ASSIGN_OR_RETURN(const int32_t cls, NamedId(json, "cls", where));
  SHIRA_ASSIGN_OR_RETURN(const int32_t sep, NamedId(json, "sep", where));
  const bool roberta = json.contains("trim_offsets") && json.contains("add_prefix_space");
  for (size_t i = 0; i < encodings.size(); ++i) {
    std::vector<int32_t>& ids = encodings[i];
    if (i == 0 || roberta) ids.insert(ids.begin(), i == 0 ? cls : sep);
    ids.push_back(sep);
  }
  return absl::OkStatus();
}

absl::Status Apply(const nlohmann::json& json, std::string_view where, int depth,
                   Encodings& encodings) {
  SHIRA_RETURN_IF_ERROR(CheckComponent(json, where, depth));
  if (json.contains("cls") && json.contains("sep")) return ApplyClsAndSep(json, where, encodings);
  if (json.contains("single")) return ApplyTemplate(json, where, encodings);
  if (json.contains("processors")) {
    SHIRA_ASSIGN_OR_RETURN(const nlohmann::json* elements, JsonArray(json, "processors", where));
    int index = 0;
    for (const nlohmann::json& element : *elements) {
      const std::string place = StrCat(where, ".processors[", index++, "]");
      SHIRA_RETURN_IF_ERROR(Apply(element, place, depth + 1, encodings));
    }
    return absl::OkStatus();
  }
  if (json.contains("add_prefix_space") && json.contains("trim_offsets")) return absl::OkStatus();
  SHIRA_ASSIGN_OR_RETURN(const std::string type, ComponentType(json, where, depth));
  return UnknownComponent(
      where, type,
      "TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel and Sequence with their "
      "members");
}

}  // namespace

absl::StatusOr<PostProcessor> PostProcessor::FromJson(const nlohmann::json& json,
                                                      std::string_view where) {
  PostProcessor result;
  if (json.is_null()) return result;
  Encodings encodings = {{kText}};
  SHIRA_RETURN_IF_ERROR(Apply(json, where, /*depth=*/0, encodings));
  int texts = 0;
  for (const std::vector<int32_t>& ids : encodings) {
    for (const int32_t id : ids) {
      if (id == kText) {
        ++texts;
      } else {
        (texts == 0 ? result.prefix : result.suffix).push_back(id);
      }
    }
  }
  if (texts == 1) return result;
  return absl::UnimplementedError(
      StrCat(where, " holds its text ", texts, " times, expected once"));
}

}  // namespace shira
