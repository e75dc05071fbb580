// File: adapters/switch/parameter_map.h
//
// What parameters the resident weights have: each Hugging Face parameter by itself, as a row-major
// matrix of one dtype, wherever and however a WeightMemory keeps it.

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

struct ParameterShape {
  std::string name;  // Hugging Face name
  int64_t rows = 0;  // 1 for a vector
  int64_t cols = 0;

  int64_t elements() const { return rows * cols; }
};

// Immutable.
class ParameterMap {
 public:
  // INVALID_ARGUMENT for a dtype other than kF32, kBF16 or kF16, a name that occurs twice or an
  // empty shape.
  static absl::StatusOr<ParameterMap> Create(DType dtype, std::vector<ParameterShape> parameters);

  // Of the elements that are gathered and written.
  DType dtype() const { return dtype_; }
  size_t element_bytes() const { return DTypeSize(dtype_); }
  absl::Span<const ParameterShape> parameters() const { return parameters_; }

  // The position in parameters(), or -1.
  int64_t Find(std::string_view name) const;

 private:
  DType dtype_ = DType::kF32;
  std::vector<ParameterShape> parameters_;
  absl::flat_hash_map<std::string, int64_t> by_name_;
};

}  // namespace shira

#endif  // SHIRA_ADAPTERS_SWITCH_PARAMETER_MAP_H_
