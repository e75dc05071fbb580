#include "server/tokenizer/token_matcher.h"

namespace shira {
namespace {

uint64_t Edge(uint32_t node, char byte) {
  return uint64_t{node} << 8 | static_cast<unsigned char>(byte);
}

}  // namespace

void TokenMatcher::Add(std::string_view text, int32_t value) {
  first_bytes_.set(static_cast<unsigned char>(text[0]));
  uint32_t node = 0;
  for (const char byte : text) {
    const auto [edge, added] = edges_.try_emplace(Edge(node, byte), values_.size());
    if (added) values_.push_back(kNoValue);
    node = edge->second;
  }
  values_[node] = value;
}

void TokenMatcher::ForEachAt(std::string_view text, size_t begin,
                             absl::FunctionRef<void(size_t, int32_t)> visit) const {
  if (!first_bytes_.test(static_cast<unsigned char>(text[begin]))) return;
  uint32_t node = 0;
  for (size_t i = begin; i < text.size(); ++i) {
    const auto edge = edges_.find(Edge(node, text[i]));
    if (edge == edges_.end()) break;
    node = edge->second;
    if (values_[node] != kNoValue) visit(i + 1, values_[node]);
  }
}

TokenMatch TokenMatcher::LongestAt(std::string_view text, size_t begin) const {
  TokenMatch longest{begin, begin, kNoValue};
  ForEachAt(text, begin, [&](size_t end, int32_t value) { longest = {begin, end, value}; });
  return longest;
}

std::vector<TokenMatch> TokenMatcher::FindLeftmost(std::string_view text) const {
  std::vector<TokenMatch> matches;
  for (size_t begin = 0; begin < text.size();) {
    const TokenMatch longest = LongestAt(text, begin);
    if (longest.value != kNoValue) matches.push_back(longest);
    begin = longest.value != kNoValue ? longest.end : begin + 1;
  }
  return matches;
}

}  // namespace shira
