#include "adapters/switch/host_weight_memory.h"

#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "adapters/switch/scatter.h"
#include "adapters/switch/weight_hash.h"
#include "base/problem_list.h"
#include "base/status_macros.h"

namespace shira {

absl::StatusOr<ParameterMap> MapOf(DType dtype, absl::Span<const ResidentParameter> parameters) {
  std::vector<ParameterShape> shapes;
  for (const ResidentParameter& parameter : parameters) {
    shapes.push_back({parameter.name, parameter.rows, parameter.cols});
  }
  return ParameterMap::Create(dtype, std::move(shapes));
}

HostWeightMemory::HostWeightMemory(ParameterMap map, std::vector<std::byte*> data,
                                   ParallelFor parallel_for)
    : map_(std::move(map)), data_(std::move(data)), parallel_for_(std::move(parallel_for)) {}

absl::StatusOr<std::unique_ptr<HostWeightMemory>> HostWeightMemory::Create(
    DType dtype, absl::Span<const ResidentParameter> parameters, ParallelFor parallel_for) {
  std::vector<std::byte*> data;
  ProblemList problems;
  for (const ResidentParameter& parameter : parameters) {
    data.push_back(parameter.data);
    if (parameter.data == nullptr) problems.Add(parameter.name, ": no memory");
  }
  SHIRA_ASSIGN_OR_RETURN(ParameterMap map, MapOf(dtype, parameters));
  SHIRA_RETURN_IF_ERROR(problems.ToStatus(absl::StatusCode::kInvalidArgument, "resident weights"));
  return std::unique_ptr<HostWeightMemory>(
      new HostWeightMemory(std::move(map), std::move(data), std::move(parallel_for)));
}

absl::Span<std::byte> HostWeightMemory::bytes(int64_t parameter) const {
  const int64_t elements = map_.parameters()[parameter].elements();
  return {data_[parameter], static_cast<size_t>(elements) * map_.element_bytes()};
}

void HostWeightMemory::Gather(int64_t parameter, const IndexTable& table, std::byte* out) const {
  shira::Gather(data_[parameter], map_.element_bytes(), table, out);
}

void HostWeightMemory::Read(int64_t parameter, int64_t first_row, int64_t last_row,
                            absl::Span<std::byte> out) const {
  const size_t row_bytes = map_.parameters()[parameter].cols * map_.element_bytes();
  std::memcpy(out.data(), data_[parameter] + first_row * row_bytes,
              (last_row - first_row) * row_bytes);
}

Sha256Digest HostWeightMemory::Hash(int64_t parameter, const ElementOverlay* overlay) const {
  if (overlay == nullptr) return Sha256::Of(bytes(parameter));
  return HashByRows(*this, parameter, overlay);
}

int64_t HostWeightMemory::Transition(const CompiledState& from, const CompiledState& to) {
  return WriteTransition(data_, map_.element_bytes(), from, to, parallel_for_);
}

}  // namespace shira
