#include "server/model/kv_cache.h"

#include <limits>
#include <utility>

#include "base/strings.h"

namespace shira {
namespace {

constexpr int64_t kAlignment = 64;

}  // namespace

bool KvBudget::Take(int64_t bytes) {
  int64_t used = used_bytes_.load(std::memory_order_relaxed);
  do {
    if (bytes > limit_bytes_ - used) return false;
  } while (!used_bytes_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
  return true;
}

void KvBudget::Return(int64_t bytes) { used_bytes_.fetch_sub(bytes, std::memory_order_relaxed); }

absl::StatusOr<std::unique_ptr<KvCache>> KvCache::Create(const ModelConfig& config, DType dtype,
                                                         int64_t capacity,
                                                         std::shared_ptr<KvBudget> budget) {
  const int64_t planes = 2 * config.num_layers;
  const int64_t token_bytes =
      config.num_kv_heads * config.head_dim * static_cast<int64_t>(DTypeSize(dtype));
  if (capacity <= 0) {
    return absl::InvalidArgumentError(
        StrCat("KV cache: expected a capacity of at least 1 token, found ", capacity));
  }
  if (capacity > std::numeric_limits<int64_t>::max() / 2 / (planes * token_bytes)) {
    return absl::ResourceExhaustedError(
        StrCat("KV cache: ", capacity, " tokens are more than any machine holds"));
  }
  const int64_t total_bytes =
      (planes * token_bytes * capacity + kAlignment - 1) / kAlignment * kAlignment;
  if (!budget->Take(total_bytes)) {
    return absl::ResourceExhaustedError(StrCat("KV cache: ", capacity, " tokens take ", total_bytes,
                                               " bytes, but ", budget->used_bytes(), " of ",
                                               budget->limit_bytes(), " are in use"));
  }
  auto* memory = static_cast<std::byte*>(std::aligned_alloc(kAlignment, total_bytes));
  if (memory == nullptr) {
    budget->Return(total_bytes);
    return absl::ResourceExhaustedError(
        StrCat("KV cache: the machine has no memory for ", total_bytes, " bytes"));
  }
  return std::unique_ptr<KvCache>(
      new KvCache(capacity, token_bytes * capacity, total_bytes, std::move(budget), memory));
}

KvCache::KvCache(int64_t capacity, int64_t plane_bytes, int64_t total_bytes,
                 std::shared_ptr<KvBudget> budget, std::byte* memory)
    : capacity_(capacity),
      plane_bytes_(plane_bytes),
      total_bytes_(total_bytes),
      budget_(std::move(budget)),
      memory_(memory) {}

KvCache::~KvCache() { budget_->Return(total_bytes_); }

}  // namespace shira
