// File: server/tokenizer/word_piece_model.h
//
// The model "WordPiece" of tokenizer.json: from left to right the longest token that fits, with a
// prefix ("##") on all but the first. A piece that cannot be cut like that is one unknown token.

#ifndef SHIRA_SERVER_TOKENIZER_WORD_PIECE_MODEL_H_
#define SHIRA_SERVER_TOKENIZER_WORD_PIECE_MODEL_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/tokenizer/token_model.h"

namespace shira {

class WordPieceModel final : public TokenModel {
 public:
  static absl::StatusOr<WordPieceModel> FromJson(const nlohmann::json& json,
                                                 std::string_view where);

  // O(n m) for n bytes and tokens of at most m.
  absl::Status Encode(std::string_view piece, std::vector<int32_t>& ids) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }

 private:
  // The longest token at `begin`, which it moves to the token's end; nullopt for none.
  std::optional<int32_t> LongestAt(std::string_view piece, size_t* begin) const;

  Vocabulary vocabulary_;
  std::string unknown_token_;
  std::optional<int32_t> unknown_id_;
  std::string prefix_;
  uint64_t max_characters_ = 0;  // a longer piece is unknown
  size_t longest_token_ = 0;     // bytes
};

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_WORD_PIECE_MODEL_H_
