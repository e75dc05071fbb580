#include "server/executor/torch/torch_cache.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <utility>

#include "base/status_macros.h"
#include "server/model/torch_types.h"

namespace shira {
namespace {

KvGeometry GeometryOf(const ModelConfig& config, DType dtype, int64_t budget_bytes,
                      int64_t chunk_tokens) {
  LayerGroups groups = GroupLayers(config);
  const int64_t page_bytes = kTorchPageTokens * groups.layers_per_group * 2 * config.num_kv_heads *
                             config.head_dim * static_cast<int64_t>(DTypeSize(dtype));
  return {.page_tokens = kTorchPageTokens,
          .page_bytes = page_bytes,
          .pages = budget_bytes / page_bytes,
          .chunk_tokens = chunk_tokens,
          .block_tokens = kTorchPageTokens,
          .windows = std::move(groups.windows)};
}

}  // namespace

TorchCachePool::TorchCachePool(const ModelConfig& config, DType dtype, at::Device device,
                               int64_t budget_bytes, int64_t chunk_tokens)
    : PageLedger(GeometryOf(config, dtype, budget_bytes, chunk_tokens)),
      groups_(GroupLayers(config)),
      device_(device),
      budget_bytes_(budget_bytes) {
  const c10::InferenceMode inference;
  const auto options = at::TensorOptions(device).dtype(ScalarTypeOf(dtype));
  for (int64_t i = 0; i < groups_.layers_per_group; ++i) {
    for (std::vector<at::Tensor>* tensors : {&keys_, &values_}) {
      tensors->push_back(at::empty(
          {geometry().pages * kTorchPageTokens, config.num_kv_heads, config.head_dim}, options));
    }
  }
}

void TorchCachePool::Copy(int64_t from, int64_t to) const {
  const c10::InferenceMode inference;
  for (const std::vector<at::Tensor>* tensors : {&keys_, &values_}) {
    for (const at::Tensor& tensor : *tensors) {
      tensor.narrow(0, to * kTorchPageTokens, kTorchPageTokens)
          .copy_(tensor.narrow(0, from * kTorchPageTokens, kTorchPageTokens));
    }
  }
}

TorchCache::TorchCache(std::shared_ptr<TorchCachePool> pool, const SequenceRoom& room)
    : PagedSequence(pool, room), pool_(std::move(pool)) {
  const c10::InferenceMode inference;
  const auto options = at::TensorOptions(pool_->device()).dtype(at::kLong);
  for (int64_t i = 0; i < geometry().groups(); ++i) slots_.push_back(at::empty({0}, options));
}

absl::StatusOr<std::unique_ptr<TorchCache>> TorchCache::Create(std::shared_ptr<TorchCachePool> pool,
                                                               const SequenceRoom& room) {
  auto cache = std::unique_ptr<TorchCache>(new TorchCache(std::move(pool), room));
  SHIRA_RETURN_IF_ERROR(cache->Reserve());
  return cache;
}

absl::StatusOr<std::unique_ptr<TorchCache>> TorchCache::Fork(int64_t tokens,
                                                             const SequenceRoom& room) {
  auto fork = std::unique_ptr<TorchCache>(new TorchCache(pool_, room));
  SHIRA_RETURN_IF_ERROR(ForkInto(tokens, *fork));
  fork->FindSlots();
  if (const int64_t own = fork->OwnEnd(); own >= 0) {
    for (int64_t group = 0; group < geometry().groups(); ++group) {
      pool_->Copy(pages_of(group)[own], fork->pages_of(group)[own]);
    }
  }
  return fork;
}

void TorchCache::Begin(int64_t tokens) {
  PagedSequence::Begin(tokens);
  FindSlots();
}

void TorchCache::FindSlots() {
  const c10::InferenceMode inference;
  for (int64_t group = 0; group < geometry().groups(); ++group) {
    const int64_t known = slots_[group].size(0) / kTorchPageTokens;
    const absl::Span<const int64_t> pages = pages_of(group).subspan(known);
    if (pages.empty()) continue;
    at::Tensor slots =
        at::empty({static_cast<int64_t>(pages.size()) * kTorchPageTokens}, at::kLong);
    int64_t* next = slots.mutable_data_ptr<int64_t>();
    for (const int64_t page : pages) {
      for (int64_t i = 0; i < kTorchPageTokens; ++i) *next++ = page * kTorchPageTokens + i;
    }
    slots_[group] = at::cat({slots_[group], slots.to(pool_->device())});
  }
}

}  // namespace shira
