// File: server/executor/torch/torch_cache.h
//
// Keys and values on a device: a pool of slots, one a token, of which sequences have whole pages, and
// may share them.

#ifndef SHIRA_SERVER_EXECUTOR_TORCH_TORCH_CACHE_H_
#define SHIRA_SERVER_EXECUTOR_TORCH_TORCH_CACHE_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "base/dtype.h"
#include "server/executor/batch_row.h"
#include "server/model/model_config.h"

namespace shira {

inline constexpr int64_t kTorchPageTokens = 32;

// Thread-safe, but for the tensors, which are the executor's.
class TorchCachePool {
 public:
  // Memory for as many pages as the budget has room for. Throws what LibTorch throws.
  TorchCachePool(const ModelConfig& config, DType dtype, at::Device device, int64_t budget_bytes);

  at::Device device() const { return device_; }
  int64_t budget_bytes() const { return budget_bytes_; }
  int64_t used_bytes() const ABSL_LOCKS_EXCLUDED(mutex_);

  int64_t layers() const { return static_cast<int64_t>(keys_.size()); }
  // [slots, kv_heads, head_dim] of a layer; a page's slots follow each other.
  const at::Tensor& keys(int64_t layer) const { return keys_[layer]; }
  const at::Tensor& values(int64_t layer) const { return values_[layer]; }

  // Appends `count` pages with one owner each. False, and nothing taken, when there are not so many.
  bool Take(int64_t count, std::vector<int64_t>& pages) ABSL_LOCKS_EXCLUDED(mutex_);
  // Makes the caller one more owner of each page.
  void Share(absl::Span<const int64_t> pages) ABSL_LOCKS_EXCLUDED(mutex_);
  // The caller's share ends; a page that has no owner any more is free.
  void Return(absl::Span<const int64_t> pages) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  const at::Device device_;
  const int64_t budget_bytes_;
  const int64_t page_bytes_;
  std::vector<at::Tensor> keys_, values_;  // by layer

  mutable absl::Mutex mutex_;
  std::vector<int32_t> owners_ ABSL_GUARDED_BY(mutex_);  // by page
  std::vector<int64_t> free_ ABSL_GUARDED_BY(mutex_);
};

// One sequence. Thread-compatible; the pool outlives its caches.
class TorchCache final : public SequenceCache {
 public:
  // Room for `capacity` tokens. INVALID_ARGUMENT when that is not positive, RESOURCE_EXHAUSTED when
  // the pool has not enough pages. Throws what LibTorch throws.
  static absl::StatusOr<std::unique_ptr<TorchCache>> Create(std::shared_ptr<TorchCachePool> pool,
                                                            int64_t capacity);
  ~TorchCache() override { pool_->Return(pages_); }

  TorchCache(const TorchCache&) = delete;
  TorchCache& operator=(const TorchCache&) = delete;

  // A sequence with room for `capacity` tokens that begins with the first `tokens` of this one. Whole
  // pages are shared, the rest of one is copied. INVALID_ARGUMENT unless 0 <= tokens <= length() and
  // tokens <= capacity; otherwise as Create().
  absl::StatusOr<std::unique_ptr<TorchCache>> Fork(int64_t tokens, int64_t capacity) const;

  int64_t length() const override { return length_; }
  int64_t capacity() const override { return capacity_; }
  void Accept(int64_t tokens) override { length_ += tokens; }

  // Where in the pool the tokens [begin, end) are, on the device. REQUIRES: end <= capacity().
  at::Tensor slots(int64_t begin, int64_t end) const {
    return slots_.narrow(0, begin, end - begin);
  }

  // Makes `tokens` more positions part of the sequence, once every layer has written them.
  void Extend(int64_t tokens) { length_ += tokens; }

 private:
  TorchCache(int64_t capacity, std::shared_ptr<TorchCachePool> pool)
      : capacity_(capacity), pool_(std::move(pool)) {}

  // Pages until there are enough for the capacity, and their slots.
  absl::Status TakePages();

  const int64_t capacity_;
  const std::shared_ptr<TorchCachePool> pool_;
  std::vector<int64_t> pages_;
  at::Tensor slots_;  // int64, of every token that there is room for
  int64_t length_ = 0;
};

}  // namespace shira

#endif  // SHIRA_SERVER_EXECUTOR_TORCH_TORCH_CACHE_H_
