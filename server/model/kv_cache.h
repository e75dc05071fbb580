// File: server/model/kv_cache.h
//
// Keys and values of one sequence in the process's memory: where its pages are.

#ifndef SHIRA_SERVER_MODEL_KV_CACHE_H_
#define SHIRA_SERVER_MODEL_KV_CACHE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "server/executor/kv_geometry.h"
#include "server/executor/paged_sequence.h"
#include "server/model/kernels/attention_kernel.h"
#include "server/model/kv_page_pool.h"
#include "server/model/layer_groups.h"

namespace shira {

// The geometry of pages that hold kPageTokens positions in the layers of a group,
// [layers_per_group][LayerBytesOfPage()].
KvGeometry KvGeometryOf(const LayerGroups& groups, const AttentionShape& shape,
                        int64_t chunk_tokens);

// Only positions below length() that a later token sees are ever read, and only those behind it are
// written: pages are shared when they are full. Thread-compatible; keeps the pool alive.
class KvCache final : public PagedSequence {
 public:
  // Errors of PagedSequence::Reserve(). REQUIRES: the pool's geometry is KvGeometryOf().
  static absl::StatusOr<std::unique_ptr<KvCache>> Create(std::shared_ptr<KvPagePool> pool,
                                                         const SequenceRoom& room);

  // A sequence that begins with the first `tokens` of this one. Errors of PagedSequence::ForkInto().
  absl::StatusOr<std::unique_ptr<KvCache>> Fork(int64_t tokens, const SequenceRoom& room);

  // As PagedSequence::Begin().
  void Begin(int64_t tokens);

  // Where the pages of pages_of(group) are. Of those that were returned the address alone is valid.
  std::byte* const* addresses(int64_t group) const { return addresses_[group].data(); }

 private:
  KvCache(std::shared_ptr<KvPagePool> pool, const SequenceRoom& room);

  // Looks up the pages that came.
  void FindPages();

  const std::shared_ptr<KvPagePool> pool_;
  std::vector<std::vector<std::byte*>> addresses_;  // by group
};

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_KV_CACHE_H_
