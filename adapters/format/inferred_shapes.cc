#include "adapters/format/inferred_shapes.h"

#include <algorithm>
#include <cstring>

#include "adapters/format/adapter_files.h"
#include "adapters/format/adapter_format.h"
#include "base/problem_list.h"
#include "base/safetensors.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace {

// Beyond every model's sizes, and small enough for tables with one entry per row.
constexpr int64_t kMaxDimension = int64_t{1} << 26;

template <typename T>
int64_t LargestAs(const TensorView& indices) {
  T largest = 0;
  for (int64_t i = 0; i < indices.elements(); ++i) {
    T value;
    std::memcpy(&value, indices.data.data() + i * sizeof(T), sizeof(T));
    largest = std::max(largest, value);  // a NaN never is
  }
  return largest < static_cast<T>(kMaxDimension) ? static_cast<int64_t>(largest) : kMaxDimension;
}

// At least 0, at most kMaxDimension. What is no index at all is the reader's to report.
int64_t LargestIndex(const TensorView& indices) {
  switch (indices.dtype) {
    case DType::kI64:
      return LargestAs<int64_t>(indices);
    case DType::kI32:
      return LargestAs<int32_t>(indices);
    default:
      return LargestAs<float>(indices);
  }
}

}  // namespace

absl::StatusOr<InferredShapes> InferShapes(const std::string& path, const AdapterLimits& limits) {
  SHIRA_ASSIGN_OR_RETURN(const AdapterFiles files, ReadAdapterFiles(path, limits.max_file_bytes));
  SHIRA_ASSIGN_OR_RETURN(const AdapterFormat* format, FindAdapterFormat(files));
  const absl::Span<const std::byte> bytes(reinterpret_cast<const std::byte*>(files.tensors.data()),
                                          files.tensors.size());
  SHIRA_ASSIGN_OR_RETURN(const Safetensors tensors,
                         Safetensors::Parse(bytes, files.tensors_path()));
  SHIRA_ASSIGN_OR_RETURN(const RawAdapter raw, format->read(files, tensors));
  InferredShapes shapes;
  ProblemList problems;
  for (const RawDelta& delta : raw.deltas) {
    const BaseModelIdentity::Shape shape = {LargestIndex(delta.rows) + 1,
                                            LargestIndex(delta.cols) + 1};
    if (std::max(shape.rows, shape.cols) > kMaxDimension) {
      problems.Add(delta.parameter, ": expected indices below ", kMaxDimension,
                   ", found a larger one");
    }
    shapes.identity.parameters[delta.parameter] = shape;
  }
  SHIRA_RETURN_IF_ERROR(
      problems.ToStatus(absl::StatusCode::kInvalidArgument, files.tensors_path()));
  return shapes;
}

}  // namespace shira
