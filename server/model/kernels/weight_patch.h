// File: server/model/kernels/weight_patch.h
//
// Elements of a weight that a state wants otherwise than memory has them, and how they are put into
// a copy of some weight rows. Elements are moved, never computed with.

#ifndef SHIRA_SERVER_MODEL_KERNELS_WEIGHT_PATCH_H_
#define SHIRA_SERVER_MODEL_KERNELS_WEIGHT_PATCH_H_

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "adapters/index_table.h"

namespace shira {

// The elements of one parameter. A weight may be several parameters one below the other.
struct WeightPatch {
  int64_t first_row = 0;              // of the parameter, in the weight
  const IndexTable* table = nullptr;  // cols() is the weight's
  const std::byte* values = nullptr;  // [table->entries()], of the weight's dtype
};

// A copy of the consecutive weight rows [first_row, end_row), row-major without gaps.
struct WeightRows {
  int64_t first_row = 0;
  int64_t end_row = 0;
  std::byte* copy = nullptr;
  const std::byte* memory = nullptr;  // the rows themselves, unpatched
  size_t element_bytes = 0;           // 2 or 4
};

// Writes the patches' elements that lie in these rows into the copy, in order: later patches win.
void ApplyPatches(absl::Span<const WeightPatch> patches, const WeightRows& rows);

// Gives those elements of the copy back what memory has.
void RevertPatches(absl::Span<const WeightPatch> patches, const WeightRows& rows);

// Whether the two touch the same elements because they share their tables: then one can be written
// over the other.
bool SamePositions(absl::Span<const WeightPatch> a, absl::Span<const WeightPatch> b);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_KERNELS_WEIGHT_PATCH_H_
