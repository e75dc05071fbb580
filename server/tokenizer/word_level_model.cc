#include "server/tokenizer/word_level_model.h"

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/tokenizer/json_fields.h"

namespace shira {

absl::StatusOr<WordLevelModel> WordLevelModel::FromJson(const nlohmann::json& json,
                                                        std::string_view where) {
  SHIRA_ASSIGN_OR_RETURN(std::string unknown, JsonString(json, "unk_token", where));
  SHIRA_ASSIGN_OR_RETURN(const nlohmann::json* tokens, JsonMember(json, "vocab", where));
  SHIRA_ASSIGN_OR_RETURN(Vocabulary vocabulary,
                         Vocabulary::FromJson(*tokens, StrCat(where, ".vocab")));
  return WordLevelModel(std::move(vocabulary), std::move(unknown));
}

absl::Status WordLevelModel::Encode(std::string_view piece, std::vector<int32_t>& ids) const {
  std::optional<int32_t> id = vocabulary_.Id(piece);
  if (!id.has_value()) id = unknown_id_;
  if (!id.has_value()) return UnknownText(piece, unknown_token_);
  ids.push_back(*id);
  return absl::OkStatus();
}

}  // namespace shira
