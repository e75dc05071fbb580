// File: server/executor/torch/torch_cache.h
//
// Keys and values on a device: a pool of slots, one a token, of which sequences have whole pages.

#ifndef SHIRA_SERVER_EXECUTOR_TORCH_TORCH_CACHE_H_
#define SHIRA_SERVER_EXECUTOR_TORCH_TORCH_CACHE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "base/dtype.h"
#include "server/executor/kv_geometry.h"
#include "server/executor/page_ledger.h"
#include "server/executor/paged_sequence.h"
#include "server/model/layer_groups.h"
#include "server/model/model_config.h"

namespace shira {

inline constexpr int64_t kTorchPageTokens = 32;

// Thread-safe, but for the tensors, which are the executor's.
class TorchCachePool final : public PageLedger {
 public:
  // Memory for as many pages as the budget has room for. Throws what LibTorch throws.
  TorchCachePool(const ModelConfig& config, DType dtype, at::Device device, int64_t budget_bytes,
                 int64_t chunk_tokens);

  at::Device device() const { return device_; }
  int64_t budget_bytes() const { return budget_bytes_; }

  // Whose pages a layer's keys and values are in.
  int64_t group_of(int64_t layer) const { return groups_.places[layer].group; }
  // [slots, kv_heads, head_dim] that a layer's are in; a page's slots follow each other.
  const at::Tensor& keys(int64_t layer) const { return keys_[groups_.places[layer].index]; }
  const at::Tensor& values(int64_t layer) const { return values_[groups_.places[layer].index]; }

  // Copies what a page holds of all its layers to another one.
  void Copy(int64_t from, int64_t to) const;

 private:
  const LayerGroups groups_;
  const at::Device device_;
  const int64_t budget_bytes_;
  std::vector<at::Tensor> keys_, values_;  // by a layer's place in its group
};

// One sequence. Thread-compatible; keeps the pool alive.
class TorchCache final : public PagedSequence {
 public:
  // Errors of PagedSequence::Reserve(). Throws what LibTorch throws.
  static absl::StatusOr<std::unique_ptr<TorchCache>> Create(std::shared_ptr<TorchCachePool> pool,
                                                            const SequenceRoom& room);

  // A sequence that begins with the first `tokens` of this one. Errors of PagedSequence::ForkInto().
  absl::StatusOr<std::unique_ptr<TorchCache>> Fork(int64_t tokens, const SequenceRoom& room);

  // As PagedSequence::Begin().
  void Begin(int64_t tokens);

  // Where in the pool a group's keys and values of the tokens [begin, end) are, on the device.
  // REQUIRES: their pages are there.
  at::Tensor slots(int64_t group, int64_t begin, int64_t end) const {
    return slots_[group].narrow(0, begin, end - begin);
  }

 private:
  TorchCache(std::shared_ptr<TorchCachePool> pool, const SequenceRoom& room);

  // Looks up the slots of the pages that came.
  void FindSlots();

  const std::shared_ptr<TorchCachePool> pool_;
  std::vector<at::Tensor> slots_;  // by group: int64, of every token whose page came
};

}  // namespace shira

#endif  // SHIRA_SERVER_EXECUTOR_TORCH_TORCH_CACHE_H_
