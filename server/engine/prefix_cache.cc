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
  const int64_t page = executor_.kv_geometry().page_tokens;
  auto best = prefixes_.end();
  Hit hit;
  for (auto prefix = prefixes_.begin(); prefix != prefixes_.end(); ++prefix) {
    if (prefix->state.digest() != state) continue;
    const int64_t common = CommonLength(prefix->tokens, tokens) / page * page;
    hit.common_tokens = std::max(hit.common_tokens, common);
    if (common == 0 || common < hit.tokens) continue;  // of equal ones the one used last
    if (!prefix->cache->can_fork(common)) continue;
    best = prefix;
    hit.tokens = common;
  }
  if (best == prefixes_.end()) return hit;
  prefixes_.splice(prefixes_.end(), prefixes_, best);
  hit.cache = best->cache.get();
  return hit;
}

void PrefixCache::Insert(const StateKey& state, absl::Span<const int32_t> tokens,
                         SequenceCache& cache) {
  Insert(state, tokens, cache, /*is_branch=*/false);
}

void PrefixCache::InsertBranch(const StateKey& state, absl::Span<const int32_t> tokens,
                               SequenceCache& cache) {
  Insert(state, tokens, cache, /*is_branch=*/true);
}

void PrefixCache::Insert(const StateKey& state, absl::Span<const int32_t> tokens,
                         SequenceCache& cache, bool is_branch) {
  const int64_t page = executor_.kv_geometry().page_tokens;
  const int64_t whole = static_cast<int64_t>(tokens.size()) / page * page;
  if (whole == 0) return;
  tokens = tokens.subspan(0, whole);
  for (auto prefix = prefixes_.begin(); prefix != prefixes_.end();) {
    if (!(prefix->state == state)) {
      ++prefix;
      continue;
    }
    const int64_t common = CommonLength(prefix->tokens, tokens);
    if (common == whole && prefix->cache->can_fork(whole)) {  // there is as much already
      prefixes_.splice(prefixes_.end(), prefixes_, prefix);
      return;
    }
    const bool is_beginning = common == static_cast<int64_t>(prefix->tokens.size());
    const bool is_replaced = is_beginning && (!prefix->is_branch || cache.can_fork(common));
    prefix = is_replaced ? Erase(prefix) : ++prefix;
  }
  absl::StatusOr<std::unique_ptr<SequenceCache>> kept =
      executor_.Fork(cache, whole, {.tokens = whole});
  while (absl::IsResourceExhausted(kept.status()) && EvictOldest()) {
    kept = executor_.Fork(cache, whole, {.tokens = whole});
  }
  if (!kept.ok()) return;
  pages_ += (*kept)->pages();
  prefixes_.push_back({state, {tokens.begin(), tokens.end()}, *std::move(kept), is_branch});
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
  pages_ -= prefix->cache->pages();
  return prefixes_.erase(prefix);
}

}  // namespace shira
