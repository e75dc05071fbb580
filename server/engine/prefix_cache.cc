#include "server/engine/prefix_cache.h"

#include <algorithm>
#include <utility>

#include "absl/status/statusor.h"

namespace shira {
namespace {

int64_t CommonLength(absl::Span<const int32_t> a, absl::Span<const int32_t> b) {
  const size_t length = std::min(a.size(), b.size());
  return std::mismatch(a.begin(), a.begin() + length, b.begin()).first - a.begin();
}

}  // namespace

PrefixCache::Hit PrefixCache::Find(const Sha256Digest& state, absl::Span<const int32_t> tokens) {
  const int64_t page = executor_.page_tokens();
  auto best = prefixes_.end();
  int64_t length = 0;
  for (auto prefix = prefixes_.begin(); prefix != prefixes_.end(); ++prefix) {
    if (prefix->state.digest() != state) continue;
    const int64_t common = CommonLength(prefix->tokens, tokens) / page * page;
    if (common == 0 || common < length) continue;  // of equal ones the one used last
    best = prefix;
    length = common;
  }
  if (best == prefixes_.end()) return {};
  prefixes_.splice(prefixes_.end(), prefixes_, best);
  return {best->cache.get(), length};
}

void PrefixCache::Insert(const StateKey& state, absl::Span<const int32_t> tokens,
                         const SequenceCache& cache) {
  const int64_t page = executor_.page_tokens();
  const int64_t whole = static_cast<int64_t>(tokens.size()) / page * page;
  if (whole == 0) return;
  tokens = tokens.subspan(0, whole);
  for (auto prefix = prefixes_.begin(); prefix != prefixes_.end();) {
    if (!(prefix->state == state)) {
      ++prefix;
      continue;
    }
    const int64_t common = CommonLength(prefix->tokens, tokens);
    if (common == whole) {  // there is as much already
      prefixes_.splice(prefixes_.end(), prefixes_, prefix);
      return;
    }
    prefix = common == static_cast<int64_t>(prefix->tokens.size()) ? Erase(prefix) : ++prefix;
  }
  // All pages are shared, so only the machine's own memory can be missing.
  absl::StatusOr<std::unique_ptr<SequenceCache>> kept = executor_.Fork(cache, whole, whole);
  if (!kept.ok()) return;
  prefixes_.push_back({state, {tokens.begin(), tokens.end()}, *std::move(kept)});
  tokens_kept_ += whole;
  while (prefixes() > max_prefixes_) EvictOldest();
}

bool PrefixCache::EvictOldest() {
  if (prefixes_.empty()) return false;
  Erase(prefixes_.begin());
  return true;
}

void PrefixCache::EraseUsersOf(const Sha256Digest& adapter) {
  for (auto prefix = prefixes_.begin(); prefix != prefixes_.end();) {
    prefix = prefix->state.Contains(adapter) ? Erase(prefix) : ++prefix;
  }
}

PrefixCache::Prefixes::iterator PrefixCache::Erase(Prefixes::iterator prefix) {
  tokens_kept_ -= static_cast<int64_t>(prefix->tokens.size());
  return prefixes_.erase(prefix);
}

}  // namespace shira
