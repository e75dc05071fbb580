#include "server/engine/torch_model_executor.h"

#include <ATen/ATen.h>

#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/model/decoder.h"
#include "server/model/kv_cache.h"
#include "server/model/kv_page_pool.h"
#include "server/model/torch_status.h"

namespace shira {
namespace {

class TorchSequence final : public SequenceCache {
 public:
  explicit TorchSequence(std::unique_ptr<KvCache> cache) : cache_(std::move(cache)) {}

  int64_t length() const override { return cache_->length(); }
  int64_t capacity() const override { return cache_->capacity(); }
  KvCache& cache() { return *cache_; }
  const KvCache& cache() const { return *cache_; }

 private:
  const std::unique_ptr<KvCache> cache_;
};

class TorchModelExecutor final : public ModelExecutor {
 public:
  TorchModelExecutor(const ResidentWeights& weights, std::shared_ptr<KvPagePool> pool,
                     ParallelFor parallel_for)
      : weights_(weights), pool_(std::move(pool)), decoder_(weights, std::move(parallel_for)) {}

  absl::StatusOr<std::unique_ptr<SequenceCache>> NewSequence(int64_t tokens) override {
    SHIRA_ASSIGN_OR_RETURN(std::unique_ptr<KvCache> cache, KvCache::Create(pool_, tokens));
    return std::make_unique<TorchSequence>(std::move(cache));
  }

  absl::StatusOr<std::unique_ptr<SequenceCache>> Fork(const SequenceCache& source, int64_t tokens,
                                                      int64_t capacity) override {
    const KvCache& cache = static_cast<const TorchSequence&>(source).cache();
    SHIRA_ASSIGN_OR_RETURN(std::unique_ptr<KvCache> fork, cache.Fork(tokens, capacity));
    return std::make_unique<TorchSequence>(std::move(fork));
  }

  int64_t page_tokens() const override { return kPageTokens; }

  absl::StatusOr<absl::Span<const float>> Forward(const CompiledState& resident,
                                                  absl::Span<const BatchRow> rows) override {
    SHIRA_RETURN_IF_ERROR(Check(rows));
    if (rows.empty()) return absl::Span<const float>();
    try {
      const c10::InferenceMode inference;
      decoder_rows_.clear();
      for (const BatchRow& row : rows) {
        decoder_rows_.push_back({.cache = &static_cast<TorchSequence*>(row.cache)->cache(),
                                 .tokens = row.tokens,
                                 .wants_logits = row.wants_logits,
                                 .state = row.state});
      }
      return decoder_.Forward(resident, decoder_rows_);
    } catch (...) {
      return StatusOfCurrentException("forward pass");
    }
  }

  int32_t vocab_size() const override { return static_cast<int32_t>(config().vocab_size); }
  int64_t context_length() const override { return config().max_position; }
  int64_t kv_budget_bytes() const override { return pool_->budget_bytes(); }
  int64_t kv_used_bytes() const override { return pool_->used_bytes(); }

 private:
  const ModelConfig& config() const { return weights_.config(); }

  // What would otherwise write or read outside of memory.
  absl::Status Check(absl::Span<const BatchRow> rows) const {
    absl::flat_hash_set<const SequenceCache*> caches;
    for (size_t i = 0; i < rows.size(); ++i) {
      const BatchRow& row = rows[i];
      const auto problem = [i](const auto&... parts) {
        return absl::InvalidArgumentError(StrCat("forward pass, row ", i, ": ", parts...));
      };
      if (row.cache == nullptr) return problem("no cache");
      if (row.state == nullptr) return problem("no state");
      if (row.tokens.empty()) return problem("no tokens");
      if (!caches.insert(row.cache).second) return problem("its cache occurs twice");
      const int64_t room = row.cache->capacity() - row.cache->length();
      if (static_cast<int64_t>(row.tokens.size()) > room) {
        return problem(row.tokens.size(), " tokens for a cache with room for ", room);
      }
      for (const int32_t token : row.tokens) {
        if (token < 0 || token >= vocab_size()) {
          return problem("token ", token, " is outside the vocabulary of ", vocab_size());
        }
      }
    }
    return absl::OkStatus();
  }

  const ResidentWeights& weights_;
  const std::shared_ptr<KvPagePool> pool_;
  Decoder decoder_;
  std::vector<DecoderRow> decoder_rows_;  // of the last call
};

}  // namespace

absl::StatusOr<std::unique_ptr<ModelExecutor>> CreateTorchModelExecutor(
    const ResidentWeights& weights, TorchExecutorOptions options) {
  try {
    const c10::InferenceMode inference;
    const ModelConfig& config = weights.config();
    const int64_t page_bytes =
        config.num_layers * LayerBytesOfPage(AttentionShapeOf(config, weights.dtype()));
    SHIRA_ASSIGN_OR_RETURN(std::shared_ptr<KvPagePool> pool,
                           KvPagePool::Create(page_bytes, options.kv_budget_bytes));
    return std::make_unique<TorchModelExecutor>(weights, std::move(pool),
                                                std::move(options.parallel_for));
  } catch (...) {
    return StatusOfCurrentException("model executor");
  }
}

}  // namespace shira
