// File: server/model/cpu_executor.h
//
// The ModelExecutor that computes on the CPU with this project's kernels, from weights in memory.

#ifndef SHIRA_SERVER_MODEL_CPU_EXECUTOR_H_
#define SHIRA_SERVER_MODEL_CPU_EXECUTOR_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "base/parallel.h"
#include "server/executor/model_executor.h"
#include "server/model/resident_weights.h"

namespace shira {

struct CpuExecutorOptions {
  int64_t kv_budget_bytes = 0;
  // Tokens of one row in a pass that layers with windows keep memory for, beside their windows.
  int64_t chunk_tokens = 512;
  // Runs the loops of the forward pass and of switches, on the thread that calls Forward() and
  // WeightMemory::Transition().
  ParallelFor parallel_for = SerialFor;
};

// `weights` must outlive the executor, which is the way to write them between two calls of Forward().
// Sequences may outlive the executor. INTERNAL for a failure of LibTorch (which computes the angles of
// positions), RESOURCE_EXHAUSTED where memory is lacking. Forward() also checks what the contract
// requires: INVALID_ARGUMENT, nothing computed.
absl::StatusOr<std::unique_ptr<ModelExecutor>> CreateCpuExecutor(ResidentWeights& weights,
                                                                 CpuExecutorOptions options);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_CPU_EXECUTOR_H_
