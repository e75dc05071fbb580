#include "adapters/switch/state_compiler.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "base/float_types.h"
#include "base/status_macros.h"

namespace shira {
namespace {

std::vector<int64_t> FlatPositions(const IndexTable& table) {
  std::vector<int64_t> flat(table.entries());
  table.ForEach([&](uint32_t entry, int64_t position) { flat[entry] = position; });
  return flat;
}

// Adds a term to sums[i] for each of its entries, at the entry of `table` with the same position.
void Accumulate(const FusionTerm& term, const IndexTable& table, std::vector<double>& sums) {
  const ParameterDelta& delta = *term.delta;
  const auto product = [&](uint32_t entry) -> double { return delta.values[entry] * term.factor; };
  if (delta.table->digest() == table.digest()) {
    for (uint32_t entry = 0; entry < sums.size(); ++entry) sums[entry] += product(entry);
    return;
  }
  // The term's positions are a subset of the table's, in the same order.
  const std::vector<int64_t> positions = FlatPositions(*delta.table);
  uint32_t next = 0;
  table.ForEach([&](uint32_t entry, int64_t position) {
    if (next < positions.size() && positions[next] == position) sums[entry] += product(next++);
  });
}

template <typename T>
absl::StatusOr<ElementBuffer> FuseValuesAs(std::string_view parameter, const IndexTable& table,
                                           const ElementBuffer& originals,
                                           absl::Span<const FusionTerm> terms) {
  const T* pristine = reinterpret_cast<const T*>(originals.data());
  // The sum of W0 and one term is the same in fp64 rounded to fp32 as in fp32 (53 >= 2 * 24 + 2
  // bits), so one path serves both.
  std::vector<double> sums(table.entries());
  for (size_t i = 0; i < sums.size(); ++i) sums[i] = ToFloat(pristine[i]);
  for (const FusionTerm& term : terms) Accumulate(term, table, sums);

  ElementBuffer fused(sums.size() * sizeof(T));
  T* out = reinterpret_cast<T*>(fused.data());
  bool finite = true;
  for (size_t i = 0; i < sums.size(); ++i) {
    out[i] = FromFloat<T>(static_cast<float>(sums[i]));
    finite = finite && std::isfinite(ToFloat(out[i]));
  }
  if (finite) return fused;
  absl::Status overflow;
  table.ForEach([&](uint32_t entry, int64_t position) {
    if (!overflow.ok() || std::isfinite(ToFloat(out[entry]))) return;
    overflow = absl::InvalidArgumentError(absl::StrFormat(
        "%s, row %d, column %d: expected a finite value in the resident dtype, found %g from %g: "
        "use a smaller weight",
        parameter, position / table.cols(), position % table.cols(), sums[entry],
        ToFloat(pristine[entry])));
  });
  return overflow;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const IndexTable>> UnionTable(absl::Span<const FusionTerm> terms) {
  const std::shared_ptr<const IndexTable>& first = terms[0].delta->table;
  const auto equals_first = [&](const FusionTerm& term) {
    return term.delta->table->digest() == first->digest();
  };
  if (std::all_of(terms.begin(), terms.end(), equals_first)) return first;
  std::vector<int64_t> all;
  for (const FusionTerm& term : terms) {
    const std::vector<int64_t> positions = FlatPositions(*term.delta->table);
    std::vector<int64_t> merged;
    merged.reserve(all.size() + positions.size());
    std::set_union(all.begin(), all.end(), positions.begin(), positions.end(),
                   std::back_inserter(merged));
    all = std::move(merged);
  }
  return IndexTable::Create(first->rows(), first->cols(), all);
}

absl::StatusOr<ElementBuffer> FuseValues(std::string_view parameter, DType dtype,
                                         const IndexTable& table, const ElementBuffer& originals,
                                         absl::Span<const FusionTerm> terms) {
  switch (dtype) {
    case DType::kF32:
      return FuseValuesAs<float>(parameter, table, originals, terms);
    case DType::kBF16:
      return FuseValuesAs<BFloat16>(parameter, table, originals, terms);
    case DType::kF16:
      return FuseValuesAs<Float16>(parameter, table, originals, terms);
    default:
      return absl::InvalidArgumentError(
          absl::StrFormat("%s: no arithmetic in dtype %s", parameter, DTypeName(dtype)));
  }
}

}  // namespace shira
