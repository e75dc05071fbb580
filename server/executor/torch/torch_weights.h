// File: server/executor/torch/torch_weights.h
//
// The base model on a device: a tensor for each place of the forward pass, whose elements a switch
// gathers and writes by index.

#ifndef SHIRA_SERVER_EXECUTOR_TORCH_TORCH_WEIGHTS_H_
#define SHIRA_SERVER_EXECUTOR_TORCH_TORCH_WEIGHTS_H_

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "adapters/switch/weight_memory.h"
#include "server/model/resident_weights.h"
#include "server/model/tensor_spec.h"

namespace shira {

// Methods throw what LibTorch throws, but for Transition().
class TorchWeights final : public WeightMemory {
 public:
  // Copies to `device`; on the CPU it keeps `weights` and uses their memory. INVALID_ARGUMENT as
  // ParameterMap::Create().
  static absl::StatusOr<std::unique_ptr<TorchWeights>> Create(
      std::unique_ptr<ResidentWeights> weights, at::Device device);

  const ModelConfig& config() const { return config_; }
  DType dtype() const { return map_.dtype(); }
  at::Device device() const { return device_; }

  // [rows, cols] of a matrix, [n] of a vector; undefined where the model has none.
  at::Tensor At(const TensorPlace& place) const;

  const ParameterMap& parameters() const override { return map_; }
  void Gather(int64_t parameter, const IndexTable& table, std::byte* out) const override;
  void Read(int64_t parameter, int64_t first_row, int64_t last_row,
            absl::Span<std::byte> out) const override;
  Sha256Digest Hash(int64_t parameter, const ElementOverlay* overlay) const override;
  // Writes the originals of `from`, then the values of `to`, and counts both. Positions and values go
  // through buffers that are there from the start. LibTorch's own bookkeeping takes little memory;
  // where that fails, or the device does, the process ends: weights half written are worse.
  int64_t Transition(const CompiledState& from, const CompiledState& to) override;

 private:
  TorchWeights(std::unique_ptr<ResidentWeights> weights, ParameterMap map, at::Device device);

  // Writes values[i] to the table's i-th position.
  void Scatter(int64_t parameter, const IndexTable& table, const std::byte* values);

  const ModelConfig config_;
  const ParameterMap map_;
  const at::Device device_;
  std::unique_ptr<ResidentWeights> host_;  // where tensors use its memory
  std::map<TensorPlace, at::Tensor> places_;
  // By parameter: its elements in order, as integers of their size, so that bits stay as they are.
  std::vector<at::Tensor> elements_;

  // What is written at a time: on the host, and on its way on the device.
  at::Tensor host_positions_, host_values_;
  at::Tensor positions_, values_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_EXECUTOR_TORCH_TORCH_WEIGHTS_H_
