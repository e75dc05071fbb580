#include "adapters/format/delta_validator.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "base/float_types.h"
#include "base/strings.h"

namespace shira {
namespace {

template <typename T>
T LoadUnaligned(const TensorView& tensor, int64_t i) {
  T value;
  std::memcpy(&value, tensor.data.data() + i * sizeof(T), sizeof(T));
  return value;
}

float ValueAt(const TensorView& tensor, int64_t i) {
  switch (tensor.dtype) {
    case DType::kBF16:
      return ToFloat(LoadUnaligned<BFloat16>(tensor, i));
    case DType::kF16:
      return ToFloat(LoadUnaligned<Float16>(tensor, i));
    default:
      return LoadUnaligned<float>(tensor, i);
  }
}

// nullopt for a float that is no integer. Floats beyond 2^24 can't hold every index, but what they
// hold is exact.
std::optional<int64_t> IndexAt(const TensorView& tensor, int64_t i) {
  switch (tensor.dtype) {
    case DType::kI64:
      return LoadUnaligned<int64_t>(tensor, i);
    case DType::kI32:
      return LoadUnaligned<int32_t>(tensor, i);
    default: {
      const float value = LoadUnaligned<float>(tensor, i);
      if (!(std::abs(value) < 0x1p62f) || std::trunc(value) != value) return std::nullopt;
      return static_cast<int64_t>(value);
    }
  }
}

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

struct Entry {
  int64_t position;
  float value;
};

}  // namespace

std::optional<ParameterDelta> ValidateDelta(const RawDelta& raw, const BaseModelIdentity& base,
                                            ProblemList& problems) {
  const size_t problems_before = problems.count();
  const auto found = base.parameters.find(raw.parameter);
  if (found == base.parameters.end()) {
    problems.Add(raw.parameter, ": the model has no such matrix");
    return std::nullopt;
  }
  const auto [rows, cols] = found->second;
  const int64_t count = raw.values.elements();
  if (count == 0) {
    problems.Add(raw.parameter, ": no entries");
    return std::nullopt;
  }

  FirstOfKind fractional, outside, infinite, duplicate;
  std::vector<Entry> entries;
  entries.reserve(count);
  for (int64_t i = 0; i < count; ++i) {
    const std::optional<int64_t> row = IndexAt(raw.rows, i);
    const std::optional<int64_t> col = IndexAt(raw.cols, i);
    const float value = ValueAt(raw.values, i);
    if (!std::isfinite(value)) infinite.Add("value ", i, ": expected a finite one, found ", value);
    if (!row.has_value() || !col.has_value()) {
      fractional.Add("index ", i, ": expected an integer, found a fraction or no number");
    } else if (*row < 0 || *row >= rows || *col < 0 || *col >= cols) {
      outside.Add("index ", i, ": expected within [", rows, ", ", cols, "], found [", *row, ", ",
                  *col, "]");
    } else {
      entries.push_back({*row * cols + *col, value});
    }
  }
  const auto before = [](const Entry& a, const Entry& b) { return a.position < b.position; };
  if (!std::is_sorted(entries.begin(), entries.end(), before)) {
    std::sort(entries.begin(), entries.end(), before);
  }
  for (size_t i = 1; i < entries.size(); ++i) {
    if (entries[i].position == entries[i - 1].position) {
      duplicate.Add("duplicate index [", entries[i].position / cols, ", ",
                    entries[i].position % cols, "]");
    }
  }
  for (const FirstOfKind* kind : {&fractional, &outside, &infinite, &duplicate}) {
    kind->Report(raw.parameter, problems);
  }
  if (problems.count() != problems_before) return std::nullopt;

  ParameterDelta delta;
  delta.parameter = raw.parameter;
  std::vector<int64_t> positions;
  positions.reserve(entries.size());
  delta.values.reserve(entries.size());
  for (const Entry& entry : entries) {
    positions.push_back(entry.position);
    delta.values.push_back(entry.value);
  }
  auto table = IndexTable::Create(rows, cols, positions);
  if (!table.ok()) {
    problems.Add(raw.parameter, ": ", table.status().message());
    return std::nullopt;
  }
  delta.table = *std::move(table);
  return delta;
}

}  // namespace shira
