// File: server/tokenizer/word_level_model.h
//
// The model "WordLevel" of tokenizer.json: a piece is a token, or it is unknown.

#ifndef SHIRA_SERVER_TOKENIZER_WORD_LEVEL_MODEL_H_
#define SHIRA_SERVER_TOKENIZER_WORD_LEVEL_MODEL_H_

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/tokenizer/token_model.h"

namespace shira {

class WordLevelModel final : public TokenModel {
 public:
  static absl::StatusOr<WordLevelModel> FromJson(const nlohmann::json& json,
                                                 std::string_view where);

  absl::Status Encode(std::string_view piece, std::vector<int32_t>& ids) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }

 private:
  WordLevelModel(Vocabulary vocabulary, std::string unknown_token)
      : vocabulary_(std::move(vocabulary)),
        unknown_token_(std::move(unknown_token)),
        unknown_id_(vocabulary_.Id(unknown_token_)) {}

  Vocabulary vocabulary_;
  std::string unknown_token_;
  std::optional<int32_t> unknown_id_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_WORD_LEVEL_MODEL_H_
