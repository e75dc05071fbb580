#include "server/engine/torch_model_executor.h"

#include <ATen/ATen.h>

#include <cstring>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/model/decoder.h"
#include "server/model/kv_cache.h"
#include "server/model/torch_status.h"

namespace shira {
namespace {

class TorchSequence final : public SequenceCache {
 public:
  explicit TorchSequence(std::unique_ptr<KvCache> cache) : cache_(std::move(cache)) {}

  int64_t length() const override { return cache_->length(); }
  int64_t capacity() const override { return cache_->capacity(); }
  KvCache& cache() const { return *cache_; }

 private:
  const std::unique_ptr<KvCache> cache_;
};

class TorchModelExecutor final : public ModelExecutor {
 public:
  TorchModelExecutor(const ResidentWeights& weights, int64_t kv_budget_bytes)
      : weights_(weights),
        budget_(std::make_shared<KvBudget>(kv_budget_bytes)),
        decoder_(weights) {}

  absl::StatusOr<std::unique_ptr<SequenceCache>> NewSequence(int64_t tokens) override {
    SHIRA_ASSIGN_OR_RETURN(std::unique_ptr<KvCache> cache,
                           KvCache::Create(config(), weights_.dtype(), tokens, budget_));
    return std::make_unique<TorchSequence>(std::move(cache));
  }

  absl::StatusOr<std::unique_ptr<SequenceCache>> Fork(const SequenceCache& source, int64_t tokens,
                                                      int64_t capacity) override {
    SHIRA_ASSIGN_OR_RETURN(std::unique_ptr<KvCache> cache,
                           KvCache::Create(config(), weights_.dtype(), capacity, budget_));
    const KvCache& from = static_cast<const TorchSequence&>(source).cache();
    const int64_t token_bytes =
        config().head_dim * static_cast<int64_t>(DTypeSize(weights_.dtype()));
    for (int64_t layer = 0; layer < config().num_layers; ++layer) {
      for (int64_t head = 0; head < config().num_kv_heads; ++head) {
        const int64_t to = head * capacity * token_bytes;
        const int64_t at = head * from.capacity() * token_bytes;
        std::memcpy(cache->keys(layer) + to, from.keys(layer) + at, tokens * token_bytes);
        std::memcpy(cache->values(layer) + to, from.values(layer) + at, tokens * token_bytes);
      }
    }
    cache->Extend(tokens);
    return std::make_unique<TorchSequence>(std::move(cache));
  }

  absl::StatusOr<absl::Span<const float>> Forward(const CompiledState& resident,
                                                  absl::Span<const BatchRow> rows) override {
    SHIRA_RETURN_IF_ERROR(Check(resident, rows));
    if (rows.empty()) return absl::Span<const float>();
    try {
      const c10::InferenceMode inference;
      std::vector<DecoderRow> decoder_rows;
      decoder_rows.reserve(rows.size());
      for (const BatchRow& row : rows) {
        decoder_rows.push_back({.cache = &static_cast<TorchSequence*>(row.cache)->cache(),
                                .tokens = row.tokens,
                                .wants_logits = row.wants_logits});
      }
      logits_ = decoder_.Forward(decoder_rows);
      return absl::MakeConstSpan(logits_.const_data_ptr<float>(), logits_.numel());
    } catch (...) {
      return StatusOfCurrentException("forward pass");
    }
  }

  int32_t vocab_size() const override { return static_cast<int32_t>(config().vocab_size); }
  int64_t context_length() const override { return config().max_position; }
  int64_t page_tokens() const override { return 1; }
  int64_t kv_budget_bytes() const override { return budget_->limit_bytes(); }
  int64_t kv_used_bytes() const override { return budget_->used_bytes(); }

 private:
  const ModelConfig& config() const { return weights_.config(); }

  // What would otherwise write or read outside of memory.
  absl::Status Check(const CompiledState& resident, absl::Span<const BatchRow> rows) const {
    absl::flat_hash_set<const SequenceCache*> caches;
    for (size_t i = 0; i < rows.size(); ++i) {
      const BatchRow& row = rows[i];
      const auto problem = [i](const auto&... parts) {
        return absl::InvalidArgumentError(StrCat("forward pass, row ", i, ": ", parts...));
      };
      if (row.cache == nullptr) return problem("no cache");
      if (row.tokens.empty()) return problem("no tokens");
      if (row.state == nullptr || !(row.state->key == resident.key)) {
        return problem("its state is not the resident one");
      }
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
  const std::shared_ptr<KvBudget> budget_;
  Decoder decoder_;
  at::Tensor logits_;  // [rows that wanted logits, vocab_size], of the last call
};

}  // namespace

absl::StatusOr<std::unique_ptr<ModelExecutor>> CreateTorchModelExecutor(
    const ResidentWeights& weights, int64_t kv_budget_bytes) {
  try {
    const c10::InferenceMode inference;
    return std::make_unique<TorchModelExecutor>(weights, kv_budget_bytes);
  } catch (...) {
    return StatusOfCurrentException("model executor");
  }
}

}  // namespace shira
