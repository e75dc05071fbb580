// File: server/tokenizer/score_merge_model.h
//
// SentencePiece's byte-pair encoding, as llama.cpp has it for the GGUF model "llama": there is no
// list of merges, each token has a score. The neighbours whose text together is the token with the
// greatest score are merged, the leftmost first, until no two of them make a token.

#ifndef SHIRA_SERVER_TOKENIZER_SCORE_MERGE_MODEL_H_
#define SHIRA_SERVER_TOKENIZER_SCORE_MERGE_MODEL_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/tokenizer/token_model.h"

namespace shira {

class ScoreMergeModel final : public TokenModel {
 public:
  // `scores` by id. A character that is no token becomes the tokens of its bytes ("<0x41>"), and
  // `unknown_id` for each that is missing. REQUIRES: as many scores as ids, or more.
  ScoreMergeModel(Vocabulary vocabulary, std::vector<float> scores,
                  std::optional<int32_t> unknown_id);

  // O(n log n) for n bytes.
  absl::Status Encode(std::string_view piece, std::vector<int32_t>& ids) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }

 private:
  absl::Status AppendBytes(std::string_view character, std::vector<int32_t>& ids) const;

  Vocabulary vocabulary_;
  std::vector<float> scores_;
  std::optional<int32_t> unknown_id_;
  size_t longest_token_ = 0;  // bytes
};

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_SCORE_MERGE_MODEL_H_
