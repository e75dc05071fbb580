#include "server/model/kernels/weight_patch.h"

#include <algorithm>

namespace shira {
namespace {

// Calls visit(offsets, first, last, shift) for every block of the table that reaches into the rows:
// entries [first, last) lie in them, entry i at element offsets[i] + shift of the copy.
template <typename Visit>
void ForEachBlockInRows(const WeightPatch& patch, const WeightRows& rows, Visit visit) {
  const IndexTable& table = *patch.table;
  const int64_t cols = table.cols();
  const int64_t block_rows = table.rows_per_block();
  const int64_t begin = std::max<int64_t>(rows.first_row - patch.first_row, 0);
  const int64_t end = std::min(rows.end_row - patch.first_row, table.rows());
  if (begin >= end) return;
  table.WithOffsets([&](auto offsets) {
    for (int64_t block = begin / block_rows; block * block_rows < end; ++block) {
      const int64_t block_row = block * block_rows;
      const auto* first = offsets.data() + table.block_offsets()[block];
      const auto* last = offsets.data() + table.block_offsets()[block + 1];
      if (block_row < begin) first = std::lower_bound(first, last, (begin - block_row) * cols);
      if (block_row + block_rows > end) {
        last = std::lower_bound(first, last, (end - block_row) * cols);
      }
      visit(offsets.data(), first - offsets.data(), last - offsets.data(),
            (patch.first_row + block_row - rows.first_row) * cols);
    }
  });
}

// An unsigned integer of the elements' size stands for each dtype.
template <typename Function>
void WithElementType(size_t element_bytes, Function function) {
  if (element_bytes == 2) return function(uint16_t{});
  return function(uint32_t{});
}

}  // namespace

void ApplyPatches(absl::Span<const WeightPatch> patches, const WeightRows& rows) {
  WithElementType(rows.element_bytes, [&]<typename Element>(Element) {
    auto* copy = reinterpret_cast<Element*>(rows.copy);
    for (const WeightPatch& patch : patches) {
      const auto* values = reinterpret_cast<const Element*>(patch.values);
      ForEachBlockInRows(patch, rows, [&](auto* offsets, int64_t i, int64_t last, int64_t shift) {
        for (; i < last; ++i) copy[offsets[i] + shift] = values[i];
      });
    }
  });
}

void RevertPatches(absl::Span<const WeightPatch> patches, const WeightRows& rows) {
  WithElementType(rows.element_bytes, [&]<typename Element>(Element) {
    auto* copy = reinterpret_cast<Element*>(rows.copy);
    const auto* memory = reinterpret_cast<const Element*>(rows.memory);
    for (const WeightPatch& patch : patches) {
      ForEachBlockInRows(patch, rows, [&](auto* offsets, int64_t i, int64_t last, int64_t shift) {
        for (; i < last; ++i) copy[offsets[i] + shift] = memory[offsets[i] + shift];
      });
    }
  });
}

bool SamePositions(absl::Span<const WeightPatch> a, absl::Span<const WeightPatch> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const WeightPatch& x, const WeightPatch& y) {
                      return x.first_row == y.first_row && x.table == y.table;
                    });
}

}  // namespace shira
