// File: server/tokenizer/unigram_model.h
//
// The model "Unigram" of tokenizer.json: of all the ways to cut a piece into tokens the one with
// the greatest sum of scores. A character that is no token costs more than any.

#ifndef SHIRA_SERVER_TOKENIZER_UNIGRAM_MODEL_H_
#define SHIRA_SERVER_TOKENIZER_UNIGRAM_MODEL_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/tokenizer/token_matcher.h"
#include "server/tokenizer/token_model.h"

namespace shira {

class UnigramModel final : public TokenModel {
 public:
  struct Options {
    // Stands for a run of characters that are no tokens.
    std::optional<int32_t> unknown_id = std::nullopt;
    // Such a run becomes the tokens of its bytes ("<0x41>") instead, where the vocabulary has all.
    bool byte_fallback = false;
  };

  // Tokens with their scores, by id; a text may be there twice, then the later one counts.
  // INVALID_ARGUMENT for an unknown id outside of them.
  static absl::StatusOr<UnigramModel> Create(
      const std::vector<std::pair<std::string, double>>& tokens, Options options);
  static absl::StatusOr<UnigramModel> FromJson(const nlohmann::json& json, std::string_view where);

  // O(n m) for n bytes and tokens of at most m.
  absl::Status Encode(std::string_view piece, std::vector<int32_t>& ids) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  size_t token_count() const override { return scores_.size(); }

 private:
  // A token or a run of unknown characters: a range of the piece.
  struct Part {
    size_t begin;
    size_t end;
  };
  // From left to right. INVALID_ARGUMENT where a character is unknown and nothing stands for it.
  absl::StatusOr<std::vector<Part>> BestParts(std::string_view piece) const;

  Options options_;
  Vocabulary vocabulary_;
  std::vector<double> scores_;  // by id
  double unknown_score_ = 0;
  ByteTokens byte_tokens_;
  TokenMatcher tokens_;  // values are ids
};

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_UNIGRAM_MODEL_H_
