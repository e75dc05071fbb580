// File: server/model/kernels/weight_patch.h
//
// Elements of a weight that a state wants otherwise than memory has them, and how they are put into
// a copy of some weight rows. Elements are moved, never computed with.

#ifndef SHIRA_SERVER_MODEL_KERNELS_WEIGHT_PATCH_H_
#define SHIRA_SERVER_MODEL_KERNELS_WEIGHT_PATCH_H_

#include <cstddef>
#include <cstdint>

#include "absl/container/inlined_vector.h"
#include "absl/types/span.h"
#include "adapters/index_table.h"

namespace shira {

// The elements of one parameter. A weight may be several parameters one below the other.
struct WeightPatch {
  int64_t first_row = 0;              // of the parameter, in the weight
  const IndexTable* table = nullptr;  // cols() is the weight's, at most 65536
  const std::byte* values = nullptr;  // [table->entries()], of the weight's dtype
};

// The consecutive weight rows [first_row, end_row), row-major without gaps, and room for a copy.
struct WeightRows {
  int64_t first_row = 0;
  int64_t end_row = 0;
  int64_t cols = 0;
  size_t element_bytes = 0;  // 2 or 4
  const std::byte* memory = nullptr;
  std::byte* copy = nullptr;
};

// What the copy of some weight rows holds: the rows as memory has them, with the patches of one
// state after the other.
class PatchedRows {
 public:
  explicit PatchedRows(const WeightRows& rows) : rows_(rows) {}

  // Makes the copy what memory would be with these patches' elements in it, in order: later patches
  // win. `patches` is not empty and must stay until the next call. Fetches what the next rows will
  // need of them.
  void Put(absl::Span<const WeightPatch> patches);

 private:
  // Entries [begin, end) of a patch: entry i is at element offsets[i] + shift of the copy.
  struct Run {
    size_t patch;
    const uint16_t* offsets;
    int64_t begin;
    int64_t end;
    int64_t shift;
  };

  template <typename Element>
  void PutAs(absl::Span<const WeightPatch> patches);
  void Find(absl::Span<const WeightPatch> patches);
  template <typename Element>
  void Write(absl::Span<const WeightPatch> patches);
  template <typename Element>
  void Restore();

  const WeightRows rows_;
  absl::Span<const WeightPatch> patches_;  // what the copy has; empty: nothing is copied yet
  absl::InlinedVector<Run, 4> runs_;       // of these, in these rows
};

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_KERNELS_WEIGHT_PATCH_H_
