#include "adapters/format/inferred_shapes.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "adapters/format/adapter_files.h"
#include "adapters/format/adapter_format.h"
#include "adapters/format/packed_positions.h"
#include "adapters/format/tensor_numbers.h"
#include "base/problem_list.h"
#include "base/safetensors.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace {

// Beyond every model's sizes, and small enough for tables with one entry per row.
constexpr int64_t kMaxDimension = int64_t{1} << 26;

using Shape = BaseModelIdentity::Shape;

// What a kind of positions tells: a shape, and whether it is the parameter's own. nullopt if it
// tells nothing.
struct Told {
  Shape shape;
  bool exact = false;
};

class ShapeOf {
 public:
  explicit ShapeOf(const TensorView& values) : values_(values) {}

  std::optional<Told> operator()(const RowsAndColumns& positions) const {
    return Told{{Largest(positions.rows) + 1, Largest(positions.cols) + 1}, /*exact=*/false};
  }
  std::optional<Told> operator()(const FlatPositions&) const { return std::nullopt; }
  std::optional<Told> operator()(EveryPosition) const {
    const std::vector<int64_t>& shape = values_.shape;
    if (shape.size() == 1) return Told{{1, shape[0]}, /*exact=*/true};
    if (shape.size() == 2) return Told{{shape[0], shape[1]}, /*exact=*/true};
    return std::nullopt;
  }
  std::optional<Told> operator()(const std::shared_ptr<PackedTable>& table) const {
    return Told{{table->shape().rows, table->shape().cols}, /*exact=*/true};
  }

 private:
  // At least 0, at most kMaxDimension. What is no index at all is the reader's to report.
  static int64_t Largest(const TensorView& indices) {
    int64_t largest = 0;
    for (int64_t i = 0; i < indices.elements(); ++i) {
      largest = std::max(largest, IndexAt(indices, i).value_or(0));
    }
    return std::min(largest, kMaxDimension);
  }

  const TensorView& values_;
};

}  // namespace

absl::StatusOr<InferredShapes> InferShapes(const AdapterFiles& files) {
  SHIRA_ASSIGN_OR_RETURN(const Safetensors tensors, files.ParseTensors());
  SHIRA_ASSIGN_OR_RETURN(const AdapterFormat* format, FindAdapterFormat(files, tensors));
  SHIRA_ASSIGN_OR_RETURN(const RawAdapter raw, format->read(files, tensors));
  InferredShapes shapes;
  ProblemList problems;
  std::map<std::string, bool> is_exact;  // by parameter
  for (const RawDelta& delta : raw.deltas) {
    std::optional<Told> told = std::visit(ShapeOf(delta.values), delta.positions);
    // A parameter may have its frozen values beside those that are added to them.
    const auto before = is_exact.find(delta.parameter);
    const bool is_known = before != is_exact.end() && before->second;
    if (is_known && !(told.has_value() && told->exact)) continue;
    if (!told.has_value()) {
      return absl::UnimplementedError(
          StrCat(files.tensors_path, ": ", delta.parameter,
                 ": its positions are flat, and the file does not give the matrix's shape: "
                 "the model is needed"));
    }
    if (!told->exact && std::max(told->shape.rows, told->shape.cols) > kMaxDimension) {
      problems.Add(delta.parameter, ": expected indices below ", kMaxDimension,
                   ", found a larger one");
    }
    is_exact[delta.parameter] = told->exact;
    shapes.identity.parameters[delta.parameter] = told->shape;
  }
  shapes.exact = std::all_of(is_exact.begin(), is_exact.end(),
                             [](const auto& parameter) { return parameter.second; });
  SHIRA_RETURN_IF_ERROR(problems.ToStatus(absl::StatusCode::kInvalidArgument, files.tensors_path));
  return shapes;
}

}  // namespace shira
