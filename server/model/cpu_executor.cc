#include "server/model/cpu_executor.h"

#include <utility>

#include "adapters/switch/host_weight_memory.h"
#include "base/status_macros.h"
#include "server/executor/check_rows.h"
#include "server/model/decoder.h"
#include "server/model/kv_cache.h"
#include "server/model/kv_page_pool.h"
#include "server/model/torch_status.h"

namespace shira {
namespace {

class CpuExecutor final : public ModelExecutor {
 public:
  CpuExecutor(const ModelConfig& config, std::unique_ptr<HostWeightMemory> memory,
              std::shared_ptr<KvPagePool> pool, std::unique_ptr<Decoder> decoder)
      : config_(config),
        memory_(std::move(memory)),
        pool_(std::move(pool)),
        decoder_(std::move(decoder)) {}

  WeightMemory& weights() override { return *memory_; }

  absl::StatusOr<std::unique_ptr<SequenceCache>> NewSequence(const SequenceRoom& room) override {
    return KvCache::Create(pool_, room);
  }

  absl::StatusOr<std::unique_ptr<SequenceCache>> Fork(SequenceCache& source, int64_t tokens,
                                                      const SequenceRoom& room) override {
    return static_cast<KvCache&>(source).Fork(tokens, room);
  }

  const KvGeometry& kv_geometry() const override { return pool_->geometry(); }
  bool mixes_states() const override { return true; }
  bool has_exact_rows() const override { return true; }

  absl::StatusOr<absl::Span<const float>> Forward(const CompiledState& resident,
                                                  absl::Span<const BatchRow> rows) override {
    SHIRA_RETURN_IF_ERROR(CheckRows(rows, vocab_size()));
    if (rows.empty()) return absl::Span<const float>();
    try {
      return decoder_->Forward(resident, rows);
    } catch (...) {
      return StatusOfCurrentException("forward pass");
    }
  }

  int32_t vocab_size() const override { return static_cast<int32_t>(config_.vocab_size); }
  int64_t context_length() const override { return config_.max_position; }
  int64_t kv_budget_bytes() const override { return pool_->budget_bytes(); }
  int64_t kv_used_bytes() const override { return pool_->used_bytes(); }

 private:
  const ModelConfig& config_;
  const std::unique_ptr<HostWeightMemory> memory_;
  const std::shared_ptr<KvPagePool> pool_;
  const std::unique_ptr<Decoder> decoder_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ModelExecutor>> CreateCpuExecutor(ResidentWeights& weights,
                                                                 CpuExecutorOptions options) {
  const ModelConfig& config = weights.config();
  SHIRA_ASSIGN_OR_RETURN(std::shared_ptr<KvPagePool> pool,
                         KvPagePool::Create(KvGeometryOf(GroupLayers(config),
                                                         AttentionShapeOf(config, weights.dtype()),
                                                         options.chunk_tokens),
                                            options.kv_budget_bytes));
  SHIRA_ASSIGN_OR_RETURN(
      std::unique_ptr<HostWeightMemory> memory,
      HostWeightMemory::Create(weights.dtype(), weights.parameters(), options.parallel_for));
  try {
    return std::make_unique<CpuExecutor>(
        config, std::move(memory), std::move(pool),
        std::make_unique<Decoder>(weights, std::move(options.parallel_for)));
  } catch (...) {
    return StatusOfCurrentException("model executor");
  }
}

}  // namespace shira
