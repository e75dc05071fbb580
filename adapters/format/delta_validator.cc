#include "adapters/format/delta_validator.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/strip.h"
#include "adapters/format/tensor_numbers.h"
#include "base/float_types.h"
#include "base/strings.h"

namespace shira {
namespace {

// Names the first case of one kind of problem and counts the others.
class FirstOfKind {
 public:
  template <typename... Parts>
  void Add(const Parts&... parts) {
    if (count_++ == 0) first_ = StrCat(parts...);
  }
  void Report(std::string_view parameter, ProblemList& problems) const {
    if (count_ == 1) problems.Add(parameter, ": ", first_);
    if (count_ > 1) problems.Add(parameter, ": ", first_, " (and ", count_ - 1, " more like it)");
  }

 private:
  int64_t count_ = 0;
  std::string first_;
};

using Shape = BaseModelIdentity::Shape;

// Stands for an index that was reported.
constexpr int64_t kNowhere = -1;

// The positions as one flat list in the file's order; reports those that are none.
class FlatPositionsOf {
 public:
  FlatPositionsOf(const RawDelta& raw, Shape shape, ProblemList& problems)
      : raw_(raw), shape_(shape), problems_(problems) {}

  std::vector<int64_t> operator()(const RowsAndColumns& positions) const {
    FirstOfKind fractional, outside;
    std::vector<int64_t> flat(raw_.values.elements(), kNowhere);
    for (size_t i = 0; i < flat.size(); ++i) {
      const std::optional<int64_t> row = IndexAt(positions.rows, i);
      const std::optional<int64_t> col = IndexAt(positions.cols, i);
      if (!row.has_value() || !col.has_value()) {
        fractional.Add("index ", i, ": expected an integer, found a fraction or no number");
      } else if (*row < 0 || *row >= shape_.rows || *col < 0 || *col >= shape_.cols) {
        outside.Add("index ", i, ": expected within [", shape_.rows, ", ", shape_.cols,
                    "], found [", *row, ", ", *col, "]");
      } else {
        flat[i] = *row * shape_.cols + *col;
      }
    }
    fractional.Report(raw_.parameter, problems_);
    outside.Report(raw_.parameter, problems_);
    return flat;
  }

  std::vector<int64_t> operator()(const FlatPositions& positions) const {
    FirstOfKind outside;
    std::vector<int64_t> flat = positions;
    for (size_t i = 0; i < flat.size(); ++i) {
      if (flat[i] < 0 || flat[i] >= shape_.rows * shape_.cols) {
        outside.Add("index ", i, ": expected within [0, ", shape_.rows * shape_.cols, ") for [",
                    shape_.rows, ", ", shape_.cols, "], found ", flat[i]);
        flat[i] = kNowhere;
      }
    }
    outside.Report(raw_.parameter, problems_);
    return flat;
  }

  std::vector<int64_t> operator()(EveryPosition) const {
    std::vector<int64_t> flat(raw_.values.elements());
    std::iota(flat.begin(), flat.end(), 0);
    return flat;
  }

  std::vector<int64_t> operator()(const std::shared_ptr<PackedTable>&) const { return {}; }

 private:
  const RawDelta& raw_;
  const Shape shape_;
  ProblemList& problems_;
};

// Puts positions and values in ascending order of position.
void SortByPosition(std::vector<int64_t>& positions, std::vector<float>& values) {
  if (std::is_sorted(positions.begin(), positions.end())) return;
  std::vector<std::pair<int64_t, float>> entries(positions.size());
  for (size_t i = 0; i < entries.size(); ++i) entries[i] = {positions[i], values[i]};
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  for (size_t i = 0; i < entries.size(); ++i) std::tie(positions[i], values[i]) = entries[i];
}

// What the file says about the parameter as a whole, before any entry is looked at.
void CheckShape(const RawDelta& raw, Shape shape, ProblemList& problems) {
  if (std::holds_alternative<EveryPosition>(raw.positions)) {
    if (!shape.Fits(raw.values.shape)) {
      problems.Add(raw.parameter, ": expected [", shape.rows, ", ", shape.cols, "], found ",
                   DescribeTensor(raw.values));
    }
  } else if (const auto* table = std::get_if<std::shared_ptr<PackedTable>>(&raw.positions)) {
    const PackedTableShape& found = (*table)->shape();
    if (found.rows != shape.rows || found.cols != shape.cols) {
      problems.Add(raw.parameter, ": expected [", shape.rows, ", ", shape.cols, "], found [",
                   found.rows, ", ", found.cols, "]");
    }
  }
}

template <typename T>
void RoundTo(std::vector<float>& values) {
  for (float& value : values) value = ToFloat(FromFloat<T>(value));
}

void RoundValues(std::optional<DType> dtype, std::vector<float>& values) {
  if (dtype == DType::kBF16) RoundTo<BFloat16>(values);
  if (dtype == DType::kF16) RoundTo<Float16>(values);
}

}  // namespace

std::optional<ParameterDelta> ValidateDelta(const RawDelta& raw, const BaseModelIdentity& base,
                                            std::optional<DType> round_to, ProblemList& problems) {
  const size_t problems_before = problems.count();
  const auto found = base.parameters.find(raw.parameter);
  if (found == base.parameters.end()) {
    // A layer's tensors are those of a module, whose weight this one would be.
    const auto fused = base.fused.find(std::string(absl::StripSuffix(raw.parameter, ".weight")));
    if (fused != base.fused.end()) {
      problems.Add(raw.parameter,
                   ": it is one tensor of all experts' weights; expected those of each "
                   "expert by itself, as ",
                   fused->second);
    } else {
      problems.Add(raw.parameter, ": the model has no such matrix");
    }
    return std::nullopt;
  }
  const Shape shape = found->second;
  if (raw.values.elements() == 0) {
    problems.Add(raw.parameter, ": no entries");
    return std::nullopt;
  }
  CheckShape(raw, shape, problems);
  if (problems.count() != problems_before) return std::nullopt;

  ParameterDelta delta;
  delta.parameter = raw.parameter;
  delta.kind = raw.kind;
  delta.values = ReadValues(raw.values);
  RoundValues(round_to, delta.values);
  FirstOfKind infinite;
  for (size_t i = 0; i < delta.values.size(); ++i) {
    if (!std::isfinite(delta.values[i])) {
      infinite.Add("value ", i, ": expected a finite one, found ", delta.values[i]);
    }
  }
  infinite.Report(raw.parameter, problems);
  if (const auto* packed = std::get_if<std::shared_ptr<PackedTable>>(&raw.positions)) {
    const auto& table = (*packed)->Unpack();
    if (!table.ok()) problems.Add(raw.parameter, ": positions: ", table.status().message());
    if (problems.count() != problems_before) return std::nullopt;
    delta.table = *table;
    return delta;
  }

  std::vector<int64_t> positions = std::visit(FlatPositionsOf(raw, shape, problems), raw.positions);
  SortByPosition(positions, delta.values);
  FirstOfKind duplicate;
  for (size_t i = 1; i < positions.size(); ++i) {
    if (positions[i] == positions[i - 1] && positions[i] != kNowhere) {
      duplicate.Add("duplicate index [", positions[i] / shape.cols, ", ", positions[i] % shape.cols,
                    "]");
    }
  }
  duplicate.Report(raw.parameter, problems);
  if (problems.count() != problems_before) return std::nullopt;
  auto table = IndexTable::Create(shape.rows, shape.cols, positions);
  if (!table.ok()) {
    problems.Add(raw.parameter, ": ", table.status().message());
    return std::nullopt;
  }
  delta.table = *std::move(table);
  return delta;
}

}  // namespace shira
