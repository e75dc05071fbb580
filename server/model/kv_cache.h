// File: server/model/kv_cache.h
//
// Keys and values of one sequence: a list of pages, some of which it may share with others.

#ifndef SHIRA_SERVER_MODEL_KV_CACHE_H_
#define SHIRA_SERVER_MODEL_KV_CACHE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "server/executor/batch_row.h"
#include "server/model/kernels/attention_kernel.h"
#include "server/model/kv_page_pool.h"

namespace shira {

// A page holds kPageTokens positions, [layers][LayerBytesOfPage()]. Only positions below length()
// are ever read, and only those behind it are written: pages are shared when they are full.
// Thread-compatible; the pool outlives its caches.
class KvCache final : public SequenceCache {
 public:
  // Room for `capacity` tokens. INVALID_ARGUMENT when that is not positive, RESOURCE_EXHAUSTED when
  // the pool has not enough pages. REQUIRES: the pool's pages hold kPageTokens positions.
  static absl::StatusOr<std::unique_ptr<KvCache>> Create(std::shared_ptr<KvPagePool> pool,
                                                         int64_t capacity);
  ~KvCache() override;

  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  // A sequence with room for `capacity` tokens that begins with the first `tokens` of this one.
  // Whole pages are shared, the rest of one is copied. INVALID_ARGUMENT unless 0 <= tokens <=
  // length() and tokens <= capacity; otherwise as Create().
  absl::StatusOr<std::unique_ptr<KvCache>> Fork(int64_t tokens, int64_t capacity) const;

  int64_t length() const override { return length_; }
  int64_t capacity() const override { return capacity_; }
  // Drafted tokens were written behind the length, where nothing is shared or read.
  void Accept(int64_t tokens) override { length_ += tokens; }

  // Page i holds the positions from i * kPageTokens on.
  std::byte* const* pages() const { return pages_.data(); }

  // Makes `tokens` more positions part of the sequence, once every layer has written them.
  void Extend(int64_t tokens) { length_ += tokens; }

 private:
  KvCache(int64_t capacity, std::shared_ptr<KvPagePool> pool)
      : capacity_(capacity), pool_(std::move(pool)) {}

  absl::Status TakePages(int64_t count);

  const int64_t capacity_;
  const std::shared_ptr<KvPagePool> pool_;
  std::vector<std::byte*> pages_;
  int64_t length_ = 0;
};

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_KV_CACHE_H_
