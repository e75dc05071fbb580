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

namespace shira {

// Immutable and thread-safe.
class BpeModel {
 public:
  struct Options {
    // A piece that is a token is that token, whatever the merges say.
    bool ignore_merges = false;
    // Stands for a character that is no token; without it such a character is dropped. It need not
    // be a token itself: then a text with such a character is refused.
    std::optional<std::string> unknown_token = std::nullopt;
    // Neighbouring unknown characters make one unknown token.
    bool fuse_unknown = false;
  };
  using Merge = std::pair<std::string, std::string>;

  // `tokens` by id; an empty text is an id without a token. The rank of a merge is its place; of
  // two equal ones the later counts. INVALID_ARGUMENT for two ids with one text, and a merge of or
  // into an unknown token.
  static absl::StatusOr<BpeModel> Create(std::vector<std::string> tokens,
                                         const std::vector<Merge>& merges, Options options);

  // The object "model"; without a type (as GPT-2's own file) it is BPE. UNIMPLEMENTED for a type
  // other than BPE, byte_fallback, dropout and subword prefixes or suffixes. INVALID_ARGUMENT for a
  // malformed object; messages name `where`.
  static absl::StatusOr<BpeModel> FromJson(const nlohmann::json& json, std::string_view where);

  // Appends the tokens of one piece: O(n log n) for n bytes. INVALID_ARGUMENT for an unknown
  // character where the unknown token is unknown too. REQUIRES: valid UTF-8 of less than 2 GiB.
  absl::Status Encode(std::string_view piece, std::vector<int32_t>& ids) const;

  std::optional<int32_t> TokenId(std::string_view text) const;
  // How many tokens there are: less than tokens().size() where ids are left out.
  size_t token_count() const { return ids_.size(); }
  // By id; empty where there is none.
  const std::vector<std::string>& tokens() const { return tokens_; }

 private:
  struct Ranked {
    int32_t rank;
    int32_t merged_id;
  };

  std::vector<std::string> tokens_;
  absl::flat_hash_map<std::string, int32_t> ids_;
  absl::flat_hash_map<std::pair<int32_t, int32_t>, Ranked> merges_;
  std::optional<std::string> unknown_token_;
  std::optional<int32_t> unknown_id_;
  bool ignore_merges_ = false;
  bool fuse_unknown_ = false;
};

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_BPE_MODEL_H_
