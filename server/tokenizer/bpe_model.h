// File: server/tokenizer/bpe_model.h
//
// The "model" of tokenizer.json: byte-pair encoding. Within a piece, the pair of neighbours with
// the lowest rank is merged, the leftmost first, until no pair has one.

#ifndef SHIRA_SERVER_TOKENIZER_BPE_MODEL_H_
#define SHIRA_SERVER_TOKENIZER_BPE_MODEL_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "server/tokenizer/token_model.h"

namespace shira {

class BpeModel final : public TokenModel {
 public:
  struct Options {
    // A piece that is a token is that token, whatever the merges say.
    bool ignore_merges = false;
    // Stands for a character that is no token; without it such a character is dropped. It need not
    // be a token itself: then a text with such a character is refused.
    std::optional<std::string> unknown_token = std::nullopt;
    // Neighbouring unknown characters make one unknown token.
    bool fuse_unknown = false;
    // A character that is no token becomes the tokens of its bytes ("<0x41>") where the vocabulary
    // has them all.
    bool byte_fallback = false;
    // A piece of line breaks and nothing else that is a token is that token.
    bool whole_line_breaks = false;
    // What the texts of tokens have in front unless they begin a piece, and behind where they end
    // one. Empty: nothing.
    std::string subword_prefix = "";
    std::string word_suffix = "";
  };
  using Merge = std::pair<std::string, std::string>;

  // The rank of a merge is its place; of two equal ones the later counts. INVALID_ARGUMENT for a
  // merge of or into an unknown token.
  static absl::StatusOr<BpeModel> Create(Vocabulary vocabulary, const std::vector<Merge>& merges,
                                         Options options);
  // `tokens` by id, as Vocabulary::FromTexts takes them.
  static absl::StatusOr<BpeModel> Create(const std::vector<std::string>& tokens,
                                         const std::vector<Merge>& merges, Options options);

  // The object "model". UNIMPLEMENTED for dropout, which makes tokens a matter of chance.
  // INVALID_ARGUMENT for a malformed object; messages name `where`.
  static absl::StatusOr<BpeModel> FromJson(const nlohmann::json& json, std::string_view where);

  // O(n log n) for n bytes.
  absl::Status Encode(std::string_view piece, std::vector<int32_t>& ids) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }

 private:
  struct Ranked {
    int32_t rank;
    int32_t merged_id;
  };

  BpeModel(Vocabulary vocabulary, Options options)
      : vocabulary_(std::move(vocabulary)), options_(std::move(options)) {}

  // The characters of a piece as tokens, before any merge.
  absl::StatusOr<std::vector<int32_t>> CharacterIds(std::string_view piece) const;

  Vocabulary vocabulary_;
  Options options_;
  std::optional<int32_t> unknown_id_;
  ByteTokens byte_tokens_;
  absl::flat_hash_map<std::pair<int32_t, int32_t>, Ranked> merges_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_BPE_MODEL_H_
