#include "server/model/kernels/weight_patch.h"

#include <algorithm>
#include <cstring>

namespace shira {
namespace {

// Whether the two touch the same elements because they share their tables: then one can be written
// over the other.
bool SamePositions(absl::Span<const WeightPatch> a, absl::Span<const WeightPatch> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const WeightPatch& x, const WeightPatch& y) {
                      return x.first_row == y.first_row && x.table == y.table;
                    });
}

// Values of several states are read in turn, a few at a time: too few for the CPU to see in them
// what comes next. Those of a run's successor follow it and are about as many. Inline always: GCC
// drops calls of functions that only prefetch.
template <typename T>
inline __attribute__((always_inline)) void FetchAfter(const T* begin, const T* end) {
  if (begin == end) return;  // both may be null
  constexpr std::ptrdiff_t kLine = 64 / sizeof(T);
  const T* const last = end + (end - begin) + kLine;
  for (const T* at = end; at < last; at += kLine) __builtin_prefetch(at);
}

}  // namespace

void PatchedRows::Put(absl::Span<const WeightPatch> patches) {
  // An unsigned integer of the elements' size stands for each dtype.
  if (rows_.element_bytes == 2) return PutAs<uint16_t>(patches);
  PutAs<uint32_t>(patches);
}

template <typename Element>
void PatchedRows::PutAs(absl::Span<const WeightPatch> patches) {
  if (patches_.empty()) {
    std::memcpy(rows_.copy, rows_.memory,
                (rows_.end_row - rows_.first_row) * rows_.cols * sizeof(Element));
    Find(patches);
  } else if (!SamePositions(patches_, patches)) {
    Restore<Element>();
    Find(patches);
  }
  Write<Element>(patches);
  patches_ = patches;
}

void PatchedRows::Find(absl::Span<const WeightPatch> patches) {
  runs_.clear();
  for (size_t patch = 0; patch < patches.size(); ++patch) {
    const IndexTable& table = *patches[patch].table;
    const int64_t first_row = patches[patch].first_row;
    const int64_t block_rows = table.rows_per_block();
    const int64_t begin = std::max<int64_t>(rows_.first_row - first_row, 0);
    const int64_t end = std::min(rows_.end_row - first_row, table.rows());
    if (begin >= end) continue;
    const uint16_t* const offsets = table.offsets<uint16_t>().data();
    for (int64_t block = begin / block_rows; block * block_rows < end; ++block) {
      const int64_t block_row = block * block_rows;
      const uint16_t* first = offsets + table.block_offsets()[block];
      const uint16_t* last = offsets + table.block_offsets()[block + 1];
      if (block_row < begin) {
        first = std::lower_bound(first, last, (begin - block_row) * rows_.cols);
      }
      if (block_row + block_rows > end) {
        last = std::lower_bound(first, last, (end - block_row) * rows_.cols);
      }
      FetchAfter(first, last);
      runs_.push_back({.patch = patch,
                       .offsets = offsets,
                       .begin = first - offsets,
                       .end = last - offsets,
                       .shift = (first_row + block_row - rows_.first_row) * rows_.cols});
    }
  }
}

template <typename Element>
void PatchedRows::Write(absl::Span<const WeightPatch> patches) {
  auto* copy = reinterpret_cast<Element*>(rows_.copy);
  for (const Run& run : runs_) {
    const auto* values = reinterpret_cast<const Element*>(patches[run.patch].values);
    for (int64_t i = run.begin; i < run.end; ++i) copy[run.offsets[i] + run.shift] = values[i];
    FetchAfter(values + run.begin, values + run.end);
  }
}

template <typename Element>
void PatchedRows::Restore() {
  auto* copy = reinterpret_cast<Element*>(rows_.copy);
  const auto* memory = reinterpret_cast<const Element*>(rows_.memory);
  for (const Run& run : runs_) {
    for (int64_t i = run.begin; i < run.end; ++i) {
      const int64_t at = run.offsets[i] + run.shift;
      copy[at] = memory[at];
    }
  }
}

}  // namespace shira
