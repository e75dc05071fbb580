#include "server/tokenizer/token_model.h"

#include <string>
#include <utility>

#include "base/status_macros.h"
#include "server/tokenizer/bpe_model.h"
#include "server/tokenizer/json_fields.h"
#include "server/tokenizer/unigram_model.h"
#include "server/tokenizer/word_level_model.h"
#include "server/tokenizer/word_piece_model.h"

namespace shira {
namespace {

template <typename Model>
absl::StatusOr<std::unique_ptr<const TokenModel>> Make(const nlohmann::json& json,
                                                       std::string_view where) {
  SHIRA_ASSIGN_OR_RETURN(Model model, Model::FromJson(json, where));
  return std::make_unique<const Model>(std::move(model));
}

std::string TypeByMembers(const nlohmann::json& json) {
  if (json.contains("merges")) return "BPE";
  if (json.contains("continuing_subword_prefix")) return "WordPiece";
  if (json.contains("vocab") && json["vocab"].is_array()) return "Unigram";
  return json.contains("unk_token") ? "WordLevel" : "BPE";
}

}  // namespace

absl::StatusOr<std::unique_ptr<const TokenModel>> TokenModel::FromJson(const nlohmann::json& json,
                                                                       std::string_view where) {
  std::string type;
  if (json.is_object() && !json.contains("type")) {
    type = TypeByMembers(json);
  } else {
    SHIRA_ASSIGN_OR_RETURN(type, JsonString(json, "type", where));
  }
  if (type == "BPE") return Make<BpeModel>(json, where);
  if (type == "Unigram") return Make<UnigramModel>(json, where);
  if (type == "WordPiece") return Make<WordPieceModel>(json, where);
  if (type == "WordLevel") return Make<WordLevelModel>(json, where);
  return UnknownComponent(where, type, "BPE, Unigram, WordPiece and WordLevel");
}

}  // namespace shira
