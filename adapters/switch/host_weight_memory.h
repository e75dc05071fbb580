// File: adapters/switch/host_weight_memory.h
//
// Weights in the process's own memory, each parameter a row-major matrix of the resident dtype. The
// owner may keep several parameters in one buffer (q, k and v stacked by rows); here each appears by
// itself.

#ifndef SHIRA_ADAPTERS_SWITCH_HOST_WEIGHT_MEMORY_H_
#define SHIRA_ADAPTERS_SWITCH_HOST_WEIGHT_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "adapters/switch/weight_memory.h"
#include "base/dtype.h"
#include "base/parallel.h"

namespace shira {

struct ResidentParameter {
  std::string name;  // Hugging Face name
  int64_t rows = 0;  // 1 for a vector
  int64_t cols = 0;
  std::byte* data = nullptr;  // [rows, cols], contiguous; not owned

  int64_t elements() const { return rows * cols; }
};

// The names and shapes of parameters that are kept in `dtype`. Errors of ParameterMap::Create().
absl::StatusOr<ParameterMap> MapOf(DType dtype, absl::Span<const ResidentParameter> parameters);

class HostWeightMemory final : public WeightMemory {
 public:
  // The memory behind `parameters` must outlive this object. `parallel_for` runs a transition's loop
  // on the thread that calls it. INVALID_ARGUMENT as ParameterMap::Create(), and for a parameter
  // without memory.
  static absl::StatusOr<std::unique_ptr<HostWeightMemory>> Create(
      DType dtype, absl::Span<const ResidentParameter> parameters,
      ParallelFor parallel_for = SerialFor);

  // The bytes of a parameter.
  absl::Span<std::byte> bytes(int64_t parameter) const;

  const ParameterMap& parameters() const override { return map_; }
  void Gather(int64_t parameter, const IndexTable& table, std::byte* out) const override;
  void Read(int64_t parameter, int64_t first_row, int64_t last_row,
            absl::Span<std::byte> out) const override;
  Sha256Digest Hash(int64_t parameter, const ElementOverlay* overlay) const override;
  int64_t Transition(const CompiledState& from, const CompiledState& to) override;

 private:
  HostWeightMemory(ParameterMap map, std::vector<std::byte*> data, ParallelFor parallel_for);

  const ParameterMap map_;
  const std::vector<std::byte*> data_;  // by parameter
  const ParallelFor parallel_for_;
};

}  // namespace shira

#endif  // SHIRA_ADAPTERS_SWITCH_HOST_WEIGHT_MEMORY_H_
