#include "server/tokenizer/token_matcher.h"

#include <algorithm>
#include <iterator>
#include <map>

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
                             absl::FunctionRef<void(size_t end, int32_t value)> found) const {
  if (!first_bytes_.test(static_cast<unsigned char>(text[begin]))) return;
  uint32_t node = 0;
  for (size_t i = begin; i < text.size(); ++i) {
    const auto edge = edges_.find(Edge(node, text[i]));
    if (edge == edges_.end()) return;
    node = edge->second;
    if (values_[node] != kNoValue) found(i + 1, values_[node]);
  }
}

std::vector<TokenMatch> TokenMatcher::FindLeftmost(std::string_view text) const {
  std::vector<TokenMatch> matches;
  for (size_t begin = 0; begin < text.size();) {
    size_t next = begin + 1;
    TokenMatch longest{begin, begin, kNoValue};
    ForEachAt(text, begin, [&](size_t end, int32_t value) { longest = {begin, end, value}; });
    if (longest.value != kNoValue) {
      matches.push_back(longest);
      next = longest.end;
    }
    begin = next;
  }
  return matches;
}

std::vector<TokenMatch> TokenMatcher::FindLongest(
    std::string_view text, absl::FunctionRef<bool(int32_t value)> accept) const {
  std::vector<TokenMatch> candidates;
  for (size_t begin = 0; begin < text.size(); ++begin) {
    ForEachAt(text, begin, [&](size_t end, int32_t value) {
      if (accept(value)) candidates.push_back({begin, end, value});
    });
  }
  std::sort(candidates.begin(), candidates.end(), [](const TokenMatch& a, const TokenMatch& b) {
    const size_t a_length = a.end - a.begin;
    const size_t b_length = b.end - b.begin;
    if (a_length != b_length) return a_length > b_length;
    return a.value != b.value ? a.value < b.value : a.begin < b.begin;
  });

  std::map<size_t, TokenMatch> taken;  // by begin
  for (const TokenMatch& candidate : candidates) {
    const auto after = taken.lower_bound(candidate.begin);
    if (after != taken.end() && after->first < candidate.end) continue;
    if (after != taken.begin() && std::prev(after)->second.end > candidate.begin) continue;
    taken.emplace_hint(after, candidate.begin, candidate);
  }
  std::vector<TokenMatch> matches;
  matches.reserve(taken.size());
  for (const auto& [begin, match] : taken) matches.push_back(match);
  return matches;
}

}  // namespace shira
