#include "server/engine/kv_memory.h"

#include <utility>

#include "base/status_macros.h"

namespace shira {
namespace {

// What the one needs that runs the prompt, and a further one.
SequenceRoom FirstRoom(const KvMemory::Demand& demand) {
  return {.tokens = demand.tokens,
          .fork_at = demand.answers > 1 ? static_cast<int64_t>(demand.prompt.size()) : 0};
}
SequenceRoom FurtherRoom(const KvMemory::Demand& demand, int64_t page_tokens) {
  const int64_t shared = static_cast<int64_t>(demand.prompt.size()) / page_tokens * page_tokens;
  return {.tokens = demand.tokens - shared};
}

}  // namespace

KvMemory::KvMemory(ModelExecutor& executor, int64_t max_prefixes)
    : executor_(executor),
      geometry_(executor.kv_geometry()),
      max_sequence_tokens_(geometry_.LongestSequence(executor.context_length())) {
  if (max_prefixes > 0) prefixes_.emplace(executor_, max_prefixes);
}

int64_t KvMemory::PagesOf(const Demand& demand, int64_t cached) const {
  return geometry_.PagesOf(FirstRoom(demand), cached / geometry_.page_tokens) +
         (demand.answers - 1) * geometry_.PagesOf(FurtherRoom(demand, geometry_.page_tokens), 0);
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
  const int64_t free = geometry_.pages - executor_.kv_used_bytes() / geometry_.page_bytes;
  const int64_t kept = prefixes_.has_value() ? prefixes_->pages() : 0;
  if (PagesOf(demand, hit.tokens) > free + kept) return reservation;
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
  if (hit.common_tokens > hit.tokens) reservation.branch_tokens = hit.common_tokens;
  const SequenceRoom first = FirstRoom(demand);
  SHIRA_ASSIGN_OR_RETURN(reservation.caches.emplace_back(),
                         hit.tokens > 0 ? executor_.Fork(*hit.cache, hit.tokens, first)
                                        : executor_.NewSequence(first));
  for (int64_t i = 1; i < demand.answers; ++i) {
    SHIRA_ASSIGN_OR_RETURN(reservation.caches.emplace_back(),
                           executor_.NewSequence(FurtherRoom(demand, geometry_.page_tokens)));
  }
  return reservation;
}

absl::Status KvMemory::ForkPrompt(int64_t prompt_tokens, int64_t tokens, SequenceCache& first,
                                  absl::Span<std::unique_ptr<SequenceCache>> others) {
  for (std::unique_ptr<SequenceCache>& cache : others) {
    if (cache == nullptr) continue;
    cache.reset();
    SHIRA_ASSIGN_OR_RETURN(cache, executor_.Fork(first, prompt_tokens, {.tokens = tokens}));
  }
  return absl::OkStatus();
}

}  // namespace shira
