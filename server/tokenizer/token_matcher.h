// File: server/tokenizer/token_matcher.h
//
// Finds any of a set of strings in a text. A trie over bytes: the time is linear in the text times
// the longest string.

#ifndef SHIRA_SERVER_TOKENIZER_TOKEN_MATCHER_H_
#define SHIRA_SERVER_TOKENIZER_TOKEN_MATCHER_H_

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"

namespace shira {

struct TokenMatch {
  size_t begin;
  size_t end;
  int32_t value;
};

// Thread-compatible.
class TokenMatcher {
 public:
  // The value of a string that was added before is replaced. REQUIRES: text is not empty.
  void Add(std::string_view text, int32_t value);

  // Every string that begins at `begin`, the shortest first. REQUIRES: begin < text.size().
  void ForEachAt(std::string_view text, size_t begin,
                 absl::FunctionRef<void(size_t end, int32_t value)> visit) const;

  // From left to right: the longest string that begins furthest left, then on behind it.
  std::vector<TokenMatch> FindLeftmost(std::string_view text) const;

 private:
  // The longest string that begins at `begin`; kNoValue for none.
  TokenMatch LongestAt(std::string_view text, size_t begin) const;

  static constexpr int32_t kNoValue = -1;

  std::bitset<256> first_bytes_;
  absl::flat_hash_map<uint64_t, uint32_t> edges_;  // node << 8 | byte -> node; the root is 0
  std::vector<int32_t> values_ = {kNoValue};       // by node
};

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_TOKEN_MATCHER_H_
