#include "server/executor/torch/torch_cache.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/model/torch_types.h"

namespace shira {
namespace {

int64_t BytesOfPage(const ModelConfig& config, DType dtype) {
  return kTorchPageTokens * config.num_layers * 2 * config.num_kv_heads * config.head_dim *
         static_cast<int64_t>(DTypeSize(dtype));
}

int64_t PagesFor(int64_t tokens) { return (tokens + kTorchPageTokens - 1) / kTorchPageTokens; }

}  // namespace

TorchCachePool::TorchCachePool(const ModelConfig& config, DType dtype, at::Device device,
                               int64_t budget_bytes)
    : device_(device), budget_bytes_(budget_bytes), page_bytes_(BytesOfPage(config, dtype)) {
  const c10::InferenceMode inference;
  const int64_t pages = budget_bytes / page_bytes_;
  const auto options = at::TensorOptions(device).dtype(ScalarTypeOf(dtype));
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    for (std::vector<at::Tensor>* tensors : {&keys_, &values_}) {
      tensors->push_back(
          at::empty({pages * kTorchPageTokens, config.num_kv_heads, config.head_dim}, options));
    }
  }
  absl::MutexLock lock(&mutex_);
  owners_.resize(pages);
  free_.resize(pages);
  std::iota(free_.rbegin(), free_.rend(), 0);  // the first pages are taken first
}

int64_t TorchCachePool::used_bytes() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<int64_t>(owners_.size() - free_.size()) * page_bytes_;
}

bool TorchCachePool::Take(int64_t count, std::vector<int64_t>& pages) {
  absl::MutexLock lock(&mutex_);
  if (count > static_cast<int64_t>(free_.size())) return false;
  for (int64_t i = 0; i < count; ++i) {
    pages.push_back(free_.back());
    owners_[free_.back()] = 1;
    free_.pop_back();
  }
  return true;
}

void TorchCachePool::Share(absl::Span<const int64_t> pages) {
  absl::MutexLock lock(&mutex_);
  for (const int64_t page : pages) ++owners_[page];
}

void TorchCachePool::Return(absl::Span<const int64_t> pages) {
  absl::MutexLock lock(&mutex_);
  for (const int64_t page : pages) {
    if (--owners_[page] == 0) free_.push_back(page);
  }
}

absl::StatusOr<std::unique_ptr<TorchCache>> TorchCache::Create(std::shared_ptr<TorchCachePool> pool,
                                                               int64_t capacity) {
  if (capacity <= 0) {
    return absl::InvalidArgumentError(StrCat("KV cache: a capacity of ", capacity, " tokens"));
  }
  auto cache = std::unique_ptr<TorchCache>(new TorchCache(capacity, std::move(pool)));
  SHIRA_RETURN_IF_ERROR(cache->TakePages());
  return cache;
}

absl::StatusOr<std::unique_ptr<TorchCache>> TorchCache::Fork(int64_t tokens,
                                                             int64_t capacity) const {
  if (tokens < 0 || tokens > length_ || tokens > capacity) {
    return absl::InvalidArgumentError(StrCat("KV cache: the first ", tokens,
                                             " tokens of a sequence of ", length_,
                                             " for one with room for ", capacity));
  }
  if (capacity <= 0) return Create(pool_, capacity);
  auto fork = std::unique_ptr<TorchCache>(new TorchCache(capacity, pool_));
  const int64_t whole = tokens / kTorchPageTokens;
  const auto shared = absl::MakeConstSpan(pages_).first(whole);
  pool_->Share(shared);
  fork->pages_.assign(shared.begin(), shared.end());
  SHIRA_RETURN_IF_ERROR(fork->TakePages());
  if (const int64_t first = whole * kTorchPageTokens; first < tokens) {
    const c10::InferenceMode inference;
    const at::Tensor from = slots(first, tokens);
    const at::Tensor to = fork->slots(first, tokens);
    for (int64_t layer = 0; layer < pool_->layers(); ++layer) {
      for (at::Tensor tensor : {pool_->keys(layer), pool_->values(layer)}) {
        tensor.index_copy_(0, to, tensor.index_select(0, from));
      }
    }
  }
  fork->length_ = tokens;
  return fork;
}

absl::Status TorchCache::TakePages() {
  const int64_t missing = PagesFor(capacity_) - static_cast<int64_t>(pages_.size());
  if (!pool_->Take(missing, pages_)) {
    return absl::ResourceExhaustedError(StrCat("KV cache: no room for ", capacity_, " tokens; ",
                                               pool_->used_bytes(), " of ", pool_->budget_bytes(),
                                               " bytes are in use"));
  }
  const c10::InferenceMode inference;
  at::Tensor slots = at::empty({static_cast<int64_t>(pages_.size()), kTorchPageTokens}, at::kLong);
  int64_t* next = slots.mutable_data_ptr<int64_t>();
  for (const int64_t page : pages_) {
    for (int64_t i = 0; i < kTorchPageTokens; ++i) *next++ = page * kTorchPageTokens + i;
  }
  slots_ = slots.view(-1).to(pool_->device());
  return absl::OkStatus();
}

}  // namespace shira
