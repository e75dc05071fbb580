// File: server/model/kv_cache.h
//
// Keys and values of one sequence, and the budget that all sequences share.

#ifndef SHIRA_SERVER_MODEL_KV_CACHE_H_
#define SHIRA_SERVER_MODEL_KV_CACHE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "absl/status/statusor.h"
#include "base/dtype.h"
#include "server/model/model_config.h"

namespace shira {

// Counts bytes against a limit. Thread-safe.
class KvBudget {
 public:
  explicit KvBudget(int64_t limit_bytes) : limit_bytes_(limit_bytes) {}

  int64_t limit_bytes() const { return limit_bytes_; }
  int64_t used_bytes() const { return used_bytes_.load(std::memory_order_relaxed); }

  // False, and nothing taken, when they do not fit.
  bool Take(int64_t bytes);
  void Return(int64_t bytes);

 private:
  const int64_t limit_bytes_;
  std::atomic<int64_t> used_bytes_{0};
};

// One contiguous allocation, [layers, 2 (keys, values), kv_heads, capacity, head_dim] in the
// resident dtype, given back to the budget when this object dies. Only positions below length()
// are ever read, and only what was written. Thread-compatible.
class KvCache {
 public:
  // Room for `capacity` tokens (> 0). RESOURCE_EXHAUSTED when the budget or the machine has not
  // enough memory.
  static absl::StatusOr<std::unique_ptr<KvCache>> Create(const ModelConfig& config, DType dtype,
                                                         int64_t capacity,
                                                         std::shared_ptr<KvBudget> budget);
  ~KvCache();

  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  int64_t length() const { return length_; }
  int64_t capacity() const { return capacity_; }

  // [kv_heads, capacity, head_dim] of one layer.
  std::byte* keys(int64_t layer) const { return memory_.get() + 2 * layer * plane_bytes_; }
  std::byte* values(int64_t layer) const { return keys(layer) + plane_bytes_; }

  // Makes `tokens` more positions part of the sequence, once every layer has written them.
  void Extend(int64_t tokens) { length_ += tokens; }

 private:
  struct FreeMemory {
    void operator()(std::byte* memory) const { std::free(memory); }
  };

  KvCache(int64_t capacity, int64_t plane_bytes, int64_t total_bytes,
          std::shared_ptr<KvBudget> budget, std::byte* memory);

  const int64_t capacity_;
  const int64_t plane_bytes_;  // of one layer's keys
  const int64_t total_bytes_;
  const std::shared_ptr<KvBudget> budget_;
  const std::unique_ptr<std::byte, FreeMemory> memory_;
  int64_t length_ = 0;
};

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_KV_CACHE_H_
