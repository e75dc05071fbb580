// File: adapters/switch/parameter_map.h
//
// Where the resident weights are: each Hugging Face parameter as a row-major matrix in memory. The
// model may keep several parameters in one buffer (q, k and v stacked by rows); here each appears
// by itself.

#ifndef SHIRA_ADAPTERS_SWITCH_PARAMETER_MAP_H_
#define SHIRA_ADAPTERS_SWITCH_PARAMETER_MAP_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/dtype.h"

namespace shira {

struct ResidentParameter {
  std::string name;  // Hugging Face name
  int64_t rows = 0;  // 1 for a vector
  int64_t cols = 0;
  std::byte* data = nullptr;  // [rows, cols], contiguous; owned by the model

  int64_t elements() const { return rows * cols; }
};

// Immutable; the memory that it points to is the model's and outlives it.
class ParameterMap {
 public:
  // INVALID_ARGUMENT for a dtype other than kF32, kBF16 or kF16, a name that occurs twice, no
  // memory, or an empty shape.
  static absl::StatusOr<ParameterMap> Create(DType dtype,
                                             std::vector<ResidentParameter> parameters);

  DType dtype() const { return dtype_; }
  size_t element_bytes() const { return DTypeSize(dtype_); }
  absl::Span<const ResidentParameter> parameters() const { return parameters_; }
  // The bytes of a parameter.
  absl::Span<std::byte> bytes(int64_t parameter) const;

  // The position in parameters(), or -1.
  int64_t Find(std::string_view name) const;

 private:
  DType dtype_ = DType::kF32;
  std::vector<ResidentParameter> parameters_;
  absl::flat_hash_map<std::string, int64_t> by_name_;
};

}  // namespace shira

#endif  // SHIRA_ADAPTERS_SWITCH_PARAMETER_MAP_H_
