#include "server/tokenizer/word_piece_model.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/tokenizer/json_fields.h"
#include "server/tokenizer/utf8.h"

namespace shira {

absl::StatusOr<WordPieceModel> WordPieceModel::FromJson(const nlohmann::json& json,
                                                        std::string_view where) {
  WordPieceModel model;
  SHIRA_ASSIGN_OR_RETURN(model.unknown_token_, JsonString(json, "unk_token", where));
  SHIRA_ASSIGN_OR_RETURN(model.prefix_, JsonString(json, "continuing_subword_prefix", where));
  SHIRA_ASSIGN_OR_RETURN(model.max_characters_, JsonCount(json, "max_input_chars_per_word", where));
  SHIRA_ASSIGN_OR_RETURN(const nlohmann::json* tokens, JsonMember(json, "vocab", where));
  SHIRA_ASSIGN_OR_RETURN(model.vocabulary_, Vocabulary::FromJson(*tokens, StrCat(where, ".vocab")));
  model.unknown_id_ = model.vocabulary_.Id(model.unknown_token_);
  for (int32_t id = 0; id < model.vocabulary_.id_count(); ++id) {
    const std::string* text = model.vocabulary_.Text(id);
    if (text != nullptr) model.longest_token_ = std::max(model.longest_token_, text->size());
  }
  return model;
}

absl::Status WordPieceModel::Encode(std::string_view piece, std::vector<int32_t>& ids) const {
  const size_t before = ids.size();
  bool known = CharacterCount(piece) <= max_characters_;
  for (size_t begin = 0; known && begin < piece.size();) {
    const std::optional<int32_t> id = LongestAt(piece, &begin);
    known = id.has_value();
    if (known) ids.push_back(*id);
  }
  if (known) return absl::OkStatus();
  if (!unknown_id_.has_value()) return UnknownText(piece, unknown_token_);
  ids.resize(before);
  ids.push_back(*unknown_id_);
  return absl::OkStatus();
}

std::optional<int32_t> WordPieceModel::LongestAt(std::string_view piece, size_t* begin) const {
  std::string text = *begin > 0 ? prefix_ : "";
  const size_t prefix = text.size();
  if (longest_token_ <= prefix) return std::nullopt;
  size_t end = std::min(piece.size(), *begin + longest_token_ - prefix);
  while (end < piece.size() && !IsCharacterStart(piece[end])) --end;
  text += piece.substr(*begin, end - *begin);
  while (text.size() > prefix) {
    if (const std::optional<int32_t> id = vocabulary_.Id(text); id.has_value()) {
      *begin += text.size() - prefix;
      return id;
    }
    while (!IsCharacterStart(text.back())) text.pop_back();
    text.pop_back();
  }
  return std::nullopt;
}

}  // namespace shira
