#include "adapters/switch/parameter_map.h"

#include <utility>

#include "absl/status/status.h"
#include "base/problem_list.h"
#include "base/strings.h"

namespace shira {

absl::StatusOr<ParameterMap> ParameterMap::Create(DType dtype,
                                                  std::vector<ResidentParameter> parameters) {
  ProblemList problems;
  if (dtype != DType::kF32 && dtype != DType::kBF16 && dtype != DType::kF16) {
    problems.Add("dtype: expected F32, BF16 or F16, found ", DTypeName(dtype));
  }
  ParameterMap map;
  map.dtype_ = dtype;
  map.parameters_ = std::move(parameters);
  for (const ResidentParameter& parameter : map.parameters_) {
    if (parameter.rows <= 0 || parameter.cols <= 0) {
      problems.Add(parameter.name, ": empty shape [", parameter.rows, ", ", parameter.cols, "]");
    }
    if (parameter.data == nullptr) problems.Add(parameter.name, ": no memory");
    if (!map.by_name_.emplace(parameter.name, map.by_name_.size()).second) {
      problems.Add(parameter.name, ": occurs twice");
    }
  }
  if (!problems.empty()) {
    return problems.ToStatus(absl::StatusCode::kInvalidArgument, "parameter map");
  }
  return map;
}

absl::Span<std::byte> ParameterMap::bytes(int64_t parameter) const {
  const ResidentParameter& p = parameters_[parameter];
  return {p.data, static_cast<size_t>(p.elements()) * element_bytes()};
}

int64_t ParameterMap::Find(std::string_view name) const {
  const auto found = by_name_.find(ToAbsl(name));
  return found == by_name_.end() ? -1 : found->second;
}

}  // namespace shira
