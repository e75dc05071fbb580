#include "server/engine/kv_memory.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"

namespace shira {

KvMemory::KvMemory(ModelExecutor& executor, int64_t max_prefixes)
    : executor_(executor), page_tokens_(executor.page_tokens()) {
  // What a page takes is the executor's to know: one is taken for a moment.
  const int64_t before = executor_.kv_used_bytes();
  if (const auto page = executor_.NewSequence(1); page.ok()) {
    page_bytes_ = executor_.kv_used_bytes() - before;
  }
  if (page_bytes_ > 0) total_pages_ = executor_.kv_budget_bytes() / page_bytes_;
  max_sequence_tokens_ = std::min(executor_.context_length(), total_pages_ * page_tokens_);
  if (max_prefixes > 0) prefixes_.emplace(executor_, max_prefixes);
}

int64_t KvMemory::PagesOf(const Demand& demand) const {
  const auto pages = [this](int64_t tokens) { return (tokens + page_tokens_ - 1) / page_tokens_; };
  const int64_t shared = static_cast<int64_t>(demand.prompt.size()) / page_tokens_;
  return pages(demand.tokens) + (demand.answers - 1) * (pages(demand.tokens) - shared);
}

absl::StatusOr<KvMemory::Reservation> KvMemory::Reserve(const Demand& demand) {
  const auto find = [&]() -> PrefixCache::Hit {
    // The last token is run in any case: its logits are what the answer begins with.
    return prefixes_.has_value()
               ? prefixes_->Find(demand.state, demand.prompt.subspan(0, demand.prompt.size() - 1))
               : PrefixCache::Hit();
  };
  PrefixCache::Hit hit = find();
  absl::StatusOr<Reservation> reservation = TryReserve(demand, hit);
  // Nothing is given up for one that does not fit even then. Pages that are shared count several
  // times here, so this may be too hopeful.
  const int64_t free = total_pages_ - executor_.kv_used_bytes() / std::max<int64_t>(page_bytes_, 1);
  const int64_t kept = prefixes_.has_value() ? prefixes_->tokens() / page_tokens_ : 0;
  if (PagesOf(demand) - hit.tokens / page_tokens_ > free + kept) return reservation;
  while (absl::IsResourceExhausted(reservation.status()) && prefixes_.has_value() &&
         prefixes_->EvictOldest()) {
    hit = find();
    reservation = TryReserve(demand, hit);
  }
  return reservation;
}

absl::StatusOr<KvMemory::Reservation> KvMemory::TryReserve(const Demand& demand,
                                                           const PrefixCache::Hit& hit) {
  Reservation reservation;
  reservation.cached_tokens = hit.tokens;
  SHIRA_ASSIGN_OR_RETURN(reservation.caches.emplace_back(),
                         hit.tokens > 0 ? executor_.Fork(*hit.cache, hit.tokens, demand.tokens)
                                        : executor_.NewSequence(demand.tokens));
  const int64_t shared = static_cast<int64_t>(demand.prompt.size()) / page_tokens_ * page_tokens_;
  for (int64_t i = 1; i < demand.answers; ++i) {
    SHIRA_ASSIGN_OR_RETURN(reservation.caches.emplace_back(),
                           executor_.NewSequence(demand.tokens - shared));
  }
  return reservation;
}

absl::Status KvMemory::ForkPrompt(int64_t prompt_tokens, int64_t tokens, const SequenceCache& first,
                                  absl::Span<std::unique_ptr<SequenceCache>> others) {
  for (std::unique_ptr<SequenceCache>& cache : others) {
    if (cache == nullptr) continue;
    cache.reset();
    SHIRA_ASSIGN_OR_RETURN(cache, executor_.Fork(first, prompt_tokens, tokens));
  }
  return absl::OkStatus();
}

}  // namespace shira
