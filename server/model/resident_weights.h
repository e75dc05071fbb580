// File: server/model/resident_weights.h
//
// The base model in memory: every parameter once, in the resident dtype. What is multiplied
// together lies together: the tensors of one place are stacked by rows in one matrix. Each parameter
// stays a contiguous range of rows.

#ifndef SHIRA_SERVER_MODEL_RESIDENT_WEIGHTS_H_
#define SHIRA_SERVER_MODEL_RESIDENT_WEIGHTS_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "adapters/switch/host_weight_memory.h"
#include "base/dtype.h"
#include "base/parallel.h"
#include "server/model/model_config.h"
#include "server/model/tensor_spec.h"
#include "server/model/weight_loader.h"

namespace shira {

// Owns the memory; it stays where it is for this object's life. Thread-compatible: weights are
// written (by the switch) on the thread that runs the model.
class ResidentWeights {
 public:
  // Row-major, in the resident dtype, 64-byte aligned.
  struct Matrix {
    std::byte* data = nullptr;
    int64_t rows = 0;  // 1 for a vector
    int64_t cols = 0;
  };

  using Progress = std::function<void(int64_t done_bytes, int64_t total_bytes)>;

  // Memory for every parameter, with no values yet. INVALID_ARGUMENT for a config that is not valid
  // or a dtype other than kF32, kBF16 or kF16, RESOURCE_EXHAUSTED when there is not enough memory.
  static absl::StatusOr<std::unique_ptr<ResidentWeights>> Allocate(const ModelConfig& config,
                                                                   DType dtype);

  // Allocates and reads every parameter. `progress` (may be empty) is called on the calling thread
  // after each parameter, in bytes of the resident dtype. Errors of Allocate() and of the source.
  static absl::StatusOr<std::unique_ptr<ResidentWeights>> Load(const WeightSource& source,
                                                               DType dtype,
                                                               const ParallelFor& parallel_for,
                                                               const Progress& progress);

  ResidentWeights(const ResidentWeights&) = delete;
  ResidentWeights& operator=(const ResidentWeights&) = delete;

  const ModelConfig& config() const { return config_; }
  DType dtype() const { return dtype_; }
  // Of all parameters.
  int64_t bytes() const { return bytes_; }

  // What the forward pass finds at a place: one parameter or a stack. No data when the model has
  // none there.
  Matrix At(const TensorPlace& place) const;
  // The place of each parameter, in the order of parameters().
  absl::Span<const TensorPlace> places() const { return places_; }

  // Every parameter under its Hugging Face name, embeddings, norms and biases too; tied embeddings
  // once. Their memory is this object's.
  absl::Span<const ResidentParameter> parameters() const { return parameters_; }

 private:
  struct FreeMemory {
    void operator()(std::byte* memory) const { std::free(memory); }
  };

  ResidentWeights(const ModelConfig& config, DType dtype) : config_(config), dtype_(dtype) {}

  ModelConfig config_;
  DType dtype_;
  int64_t bytes_ = 0;
  std::unique_ptr<std::byte, FreeMemory> memory_;
  std::vector<ResidentParameter> parameters_;  // in the order of config_.Tensors()
  std::vector<TensorPlace> places_;            // of the same
  std::map<TensorPlace, Matrix> matrices_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_RESIDENT_WEIGHTS_H_
