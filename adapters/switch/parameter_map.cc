#include "adapters/switch/parameter_map.h"

#include <utility>

#include "absl/status/status.h"
#include "base/problem_list.h"
#include "base/strings.h"

namespace shira {

absl::StatusOr<ParameterMap> ParameterMap::Create(DType dtype,
                                                  std::vector<ParameterShape> parameters) {
  ProblemList problems;
  if (dtype != DType::kF32 && dtype != DType::kBF16 && dtype != DType::kF16) {
    problems.Add("dtype: expected F32, BF16 or F16, found ", DTypeName(dtype));
  }
  ParameterMap map;
  map.dtype_ = dtype;
  map.parameters_ = std::move(parameters);
  for (const ParameterShape& parameter : map.parameters_) {
    if (parameter.rows <= 0 || parameter.cols <= 0) {
      problems.Add(parameter.name, ": empty shape [", parameter.rows, ", ", parameter.cols, "]");
    }
    if (!map.by_name_.emplace(parameter.name, map.by_name_.size()).second) {
      problems.Add(parameter.name, ": occurs twice");
    }
  }
  if (!problems.empty()) {
    return problems.ToStatus(absl::StatusCode::kInvalidArgument, "parameter map");
  }
  return map;
}

int64_t ParameterMap::Find(std::string_view name) const {
  const auto found = by_name_.find(ToAbsl(name));
  return found == by_name_.end() ? -1 : found->second;
}

}  // namespace shira
