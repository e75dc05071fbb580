// File: server/executor/torch/torch_executor.h
//
// The ModelExecutor that computes by LibTorch's own operations on any device that it has ("cpu",
// "cuda:0"): the second opinion beside our kernels, and the way to a GPU.
//
// Of the executor's contract one part does not hold: LibTorch's products add in an order that depends
// on the number of rows, so a row's logits may differ in the last bits with what else is in the batch
// and how its tokens are cut. And weights are of one state at a time: no row patching.

#ifndef SHIRA_SERVER_EXECUTOR_TORCH_TORCH_EXECUTOR_H_
#define SHIRA_SERVER_EXECUTOR_TORCH_TORCH_EXECUTOR_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/executor/model_executor.h"
#include "server/model/resident_weights.h"

namespace shira {

struct TorchExecutorOptions {
  std::string device = "cpu";   // in LibTorch's words
  int64_t kv_budget_bytes = 0;  // taken from the device at once
  int64_t chunk_tokens = 512;   // as CpuExecutorOptions has it
  int threads = 1;              // of LibTorch, where the device is the CPU
};

// Whether LibTorch has the device. INVALID_ARGUMENT for what is no device's name, FAILED_PRECONDITION
// for one that this LibTorch, or this machine, has not.
absl::Status CheckTorchDevice(const std::string& device);

// Copies the weights to the device; those of the CPU stay where they are. Errors of
// CheckTorchDevice(); RESOURCE_EXHAUSTED where memory is lacking, INTERNAL for another failure of
// LibTorch. Forward() also checks what the contract requires: INVALID_ARGUMENT, nothing computed.
// Sequences may outlive the executor.
absl::StatusOr<std::unique_ptr<ModelExecutor>> CreateTorchExecutor(
    std::unique_ptr<ResidentWeights> weights, const TorchExecutorOptions& options);

}  // namespace shira

#endif  // SHIRA_SERVER_EXECUTOR_TORCH_TORCH_EXECUTOR_H_
