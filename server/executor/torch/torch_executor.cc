#include "server/executor/torch/torch_executor.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/executor/check_rows.h"
#include "server/executor/torch/torch_cache.h"
#include "server/executor/torch/torch_decoder.h"
#include "server/executor/torch/torch_weights.h"
#include "server/model/torch_status.h"

namespace shira {
namespace {

absl::StatusOr<at::Device> ParseDevice(const std::string& name) {
  try {
    return at::Device(name);
  } catch (const c10::Error&) {
    return absl::InvalidArgumentError(
        StrCat("device '", name, "': expected what LibTorch calls one, as cpu, cuda or cuda:1"));
  }
}

class TorchExecutor final : public ModelExecutor {
 public:
  TorchExecutor(std::unique_ptr<TorchWeights> weights, std::shared_ptr<TorchCachePool> pool)
      : weights_(std::move(weights)), pool_(std::move(pool)), decoder_(*weights_, *pool_) {}

  WeightMemory& weights() override { return *weights_; }

  absl::StatusOr<std::unique_ptr<SequenceCache>> NewSequence(const SequenceRoom& room) override {
    return Guarded("a sequence's memory", [&]() -> absl::StatusOr<std::unique_ptr<SequenceCache>> {
      return TorchCache::Create(pool_, room);
    });
  }

  absl::StatusOr<std::unique_ptr<SequenceCache>> Fork(SequenceCache& source, int64_t tokens,
                                                      const SequenceRoom& room) override {
    return Guarded("a sequence's memory", [&]() -> absl::StatusOr<std::unique_ptr<SequenceCache>> {
      return static_cast<TorchCache&>(source).Fork(tokens, room);
    });
  }

  const KvGeometry& kv_geometry() const override { return pool_->geometry(); }
  bool mixes_states() const override { return false; }
  bool has_exact_rows() const override { return false; }

  absl::StatusOr<absl::Span<const float>> Forward(const CompiledState& resident,
                                                  absl::Span<const BatchRow> rows) override {
    SHIRA_RETURN_IF_ERROR(CheckRows(rows, vocab_size()));
    for (const BatchRow& row : rows) {
      if (row.state->key == resident.key) continue;
      return absl::InvalidArgumentError(
          "forward pass: a row wants another state than the resident one");
    }
    if (rows.empty()) return absl::Span<const float>();
    return Guarded("forward pass", [&]() -> absl::StatusOr<absl::Span<const float>> {
      logits_ = decoder_.Forward(rows);
      return absl::Span<const float>(logits_.const_data_ptr<float>(), logits_.numel());
    });
  }

  int32_t vocab_size() const override {
    return static_cast<int32_t>(weights_->config().vocab_size);
  }
  int64_t context_length() const override { return weights_->config().max_position; }
  int64_t kv_budget_bytes() const override { return pool_->budget_bytes(); }
  int64_t kv_used_bytes() const override { return pool_->used_bytes(); }

 private:
  template <typename Work>
  static std::invoke_result_t<Work> Guarded(std::string_view doing, Work work) {
    try {
      return work();
    } catch (...) {
      return StatusOfCurrentException(doing);
    }
  }

  const std::unique_ptr<TorchWeights> weights_;
  const std::shared_ptr<TorchCachePool> pool_;
  TorchDecoder decoder_;
  at::Tensor logits_;  // of the last pass
};

}  // namespace

absl::Status CheckTorchDevice(const std::string& name) {
  SHIRA_ASSIGN_OR_RETURN(const at::Device device, ParseDevice(name));
  try {
    at::empty({1}, at::TensorOptions(device));
    return absl::OkStatus();
  } catch (...) {
    return absl::FailedPreconditionError(
        StrCat("device ", name, " cannot be used by this LibTorch (SHIRA_LIBTORCH names another): ",
               ToStd(StatusOfCurrentException("allocation").message())));
  }
}

absl::StatusOr<std::unique_ptr<ModelExecutor>> CreateTorchExecutor(
    std::unique_ptr<ResidentWeights> weights, const TorchExecutorOptions& options) {
  SHIRA_RETURN_IF_ERROR(CheckTorchDevice(options.device));
  SHIRA_ASSIGN_OR_RETURN(const at::Device device, ParseDevice(options.device));
  at::set_num_threads(options.threads);
  try {
    SHIRA_ASSIGN_OR_RETURN(std::unique_ptr<TorchWeights> on_device,
                           TorchWeights::Create(std::move(weights), device));
    auto pool = std::make_shared<TorchCachePool>(on_device->config(), on_device->dtype(), device,
                                                 options.kv_budget_bytes, options.chunk_tokens);
    return std::make_unique<TorchExecutor>(std::move(on_device), std::move(pool));
  } catch (...) {
    return StatusOfCurrentException("model executor");
  }
}

}  // namespace shira
