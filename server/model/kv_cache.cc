#include "server/model/kv_cache.h"

#include <cstring>
#include <utility>

#include "base/status_macros.h"

namespace shira {

KvGeometry KvGeometryOf(const LayerGroups& groups, const AttentionShape& shape,
                        int64_t chunk_tokens) {
  return {.page_tokens = kPageTokens,
          .page_bytes = groups.layers_per_group * LayerBytesOfPage(shape),
          .chunk_tokens = chunk_tokens,
          .block_tokens = kAttentionBlock,
          .windows = groups.windows};
}

KvCache::KvCache(std::shared_ptr<KvPagePool> pool, const SequenceRoom& room)
    : PagedSequence(pool, room), pool_(std::move(pool)), addresses_(pool_->geometry().groups()) {}

absl::StatusOr<std::unique_ptr<KvCache>> KvCache::Create(std::shared_ptr<KvPagePool> pool,
                                                         const SequenceRoom& room) {
  auto cache = std::unique_ptr<KvCache>(new KvCache(std::move(pool), room));
  SHIRA_RETURN_IF_ERROR(cache->Reserve());
  return cache;
}

absl::StatusOr<std::unique_ptr<KvCache>> KvCache::Fork(int64_t tokens, const SequenceRoom& room) {
  auto fork = std::unique_ptr<KvCache>(new KvCache(pool_, room));
  SHIRA_RETURN_IF_ERROR(ForkInto(tokens, *fork));
  fork->FindPages();
  if (const int64_t own = fork->OwnEnd(); own >= 0) {
    for (int64_t group = 0; group < geometry().groups(); ++group) {
      std::memcpy(fork->addresses_[group][own], addresses_[group][own], geometry().page_bytes);
    }
  }
  return fork;
}

void KvCache::Begin(int64_t tokens) {
  PagedSequence::Begin(tokens);
  FindPages();
}

void KvCache::FindPages() {
  for (int64_t group = 0; group < geometry().groups(); ++group) {
    std::vector<std::byte*>& addresses = addresses_[group];
    const absl::Span<const int64_t> pages = pages_of(group);
    for (size_t i = addresses.size(); i < pages.size(); ++i) {
      addresses.push_back(pool_->AddressOf(pages[i]));
    }
  }
}

}  // namespace shira
