#include "adapters/switch/state_compiler.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "base/float_types.h"
#include "base/status_macros.h"

namespace shira {
namespace {

// W(S) over one block in `sums`, indexed by the element's offset: only elements of `table` are set.
// Every loop is over entries, and none compares positions.
template <typename T>
void SumBlock(const IndexTable& table, const T* pristine, absl::Span<const FusionTerm> terms,
              int64_t block, std::vector<double>& sums) {
  const auto is_replacement = [](const FusionTerm& term) {
    return term.delta->kind == ValueKind::kReplacement;
  };
  if (std::none_of(terms.begin(), terms.end(), is_replacement)) {
    table.ForEachInBlock(block, [&](uint32_t i, auto at) { sums[at] = ToFloat(pristine[i]); });
  } else {
    // What is replaced with weight w keeps 1 - w of W0: nothing, and exactly nothing, for w = 1.
    table.ForEachInBlock(block, [&](uint32_t, auto at) { sums[at] = 1; });
    for (const FusionTerm& term : terms) {
      if (!is_replacement(term)) continue;
      term.delta->table->ForEachInBlock(block, [&](uint32_t, auto at) { sums[at] -= term.factor; });
    }
    // -0 is the number that changes nothing that is added to it: a replacement by -0 stays one.
    table.ForEachInBlock(block, [&](uint32_t i, auto at) {
      sums[at] = sums[at] == 0 ? -0.0 : sums[at] * ToFloat(pristine[i]);
    });
  }
  for (const FusionTerm& term : terms) {
    const float* values = term.delta->values.data();
    term.delta->table->ForEachInBlock(block, [&](uint32_t i, auto at) {
      // Rounded to float before it is added, as torch rounds delta * scaling.
      const float product = values[i] * term.factor;
      sums[at] += product;
    });
  }
}

template <typename T>
absl::StatusOr<ElementBuffer> FuseValuesAs(std::string_view parameter, const IndexTable& table,
                                           const ElementBuffer& originals,
                                           absl::Span<const FusionTerm> terms) {
  const T* pristine = reinterpret_cast<const T*>(originals.data());
  ElementBuffer fused(table.entries() * sizeof(T));
  T* out = reinterpret_cast<T*>(fused.data());
  // The sum of W0 and one term is the same in fp64 rounded to fp32 as in fp32 (53 >= 2 * 24 + 2
  // bits), so one path serves both.
  std::vector<double> sums(table.block_elements());
  bool finite = true;
  for (int64_t block = 0; block < table.blocks(); ++block) {
    SumBlock(table, pristine, terms, block, sums);
    table.ForEachInBlock(block, [&](uint32_t i, auto at) {
      out[i] = FromFloat<T>(static_cast<float>(sums[at]));
      finite &= std::isfinite(ToFloat(out[i]));
    });
  }
  if (finite) return fused;
  absl::Status overflow;
  table.ForEach([&](uint32_t entry, int64_t position) {
    if (!overflow.ok() || std::isfinite(ToFloat(out[entry]))) return;
    overflow = absl::InvalidArgumentError(absl::StrFormat(
        "%s, row %d, column %d: expected a finite value in the resident dtype, found an overflow "
        "from %g: use a smaller weight",
        parameter, position / table.cols(), position % table.cols(), ToFloat(pristine[entry])));
  });
  return overflow;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const IndexTable>> UnionTable(absl::Span<const FusionTerm> terms) {
  std::vector<std::shared_ptr<const IndexTable>> tables;
  for (const FusionTerm& term : terms) tables.push_back(term.delta->table);
  return IndexTable::Union(tables);
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
