// File: server/engine/torch_model_executor.h
//
// The ModelExecutor that computes, with LibTorch on the CPU. No LibTorch header is included here.

#ifndef SHIRA_SERVER_ENGINE_TORCH_MODEL_EXECUTOR_H_
#define SHIRA_SERVER_ENGINE_TORCH_MODEL_EXECUTOR_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "base/parallel.h"
#include "server/engine/model_executor.h"
#include "server/model/resident_weights.h"

namespace shira {

struct TorchExecutorOptions {
  int64_t kv_budget_bytes = 0;
  // Runs the loops of the forward pass; called from the thread that calls Forward().
  ParallelFor parallel_for = SerialFor;
};

// `weights` must outlive the executor and may be written between two calls of Forward(). Sequences
// may outlive the executor. INTERNAL for a failure of LibTorch, RESOURCE_EXHAUSTED where memory is
// lacking. Forward() also checks what the contract requires: INVALID_ARGUMENT, nothing computed.
absl::StatusOr<std::unique_ptr<ModelExecutor>> CreateTorchModelExecutor(
    const ResidentWeights& weights, TorchExecutorOptions options);

}  // namespace shira

#endif  // SHIRA_SERVER_ENGINE_TORCH_MODEL_EXECUTOR_H_
