// File: server/model/kernels/linear.h
//
// A linear layer for any number of rows of activations, whose rows may want different states of
// the weights. For few rows its time is the time to read the weights, for many that of the
// arithmetic. Weights stay row-major where they are, so that a switch can write them between two
// calls.
//
// One arithmetic: every (row, output) pair is a sum over `in` in one fixed order per CPU and dtype.
// A row's result is the same bit for bit whatever the other rows, their number and its place among
// them, however parallel_for splits the loop, and whether its weights are in memory or patched.

#ifndef SHIRA_SERVER_MODEL_KERNELS_LINEAR_H_
#define SHIRA_SERVER_MODEL_KERNELS_LINEAR_H_

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "base/dtype.h"
#include "base/parallel.h"
#include "server/model/kernels/weight_patch.h"

namespace shira {

// A resident projection. The memory must outlive the calls.
struct LinearWeight {
  const void* data = nullptr;  // [out, in], row-major, of `dtype`
  const void* bias = nullptr;  // [out], of `dtype`; null where there is none
  DType dtype = DType::kF32;   // kF32, kBF16 or kF16
  int64_t out = 0;
  int64_t in = 0;
};

// Rows [begin, end) of activations that want the same weights.
struct RowGroup {
  int64_t begin = 0;
  int64_t end = 0;
  // What their weights have otherwise than memory, later ones on top of earlier ones. Empty: the
  // weights as they are. The positions of patches in one weight may overlap.
  absl::Span<const WeightPatch> patches;
};

// The widest weight whose rows can be patched.
inline constexpr int64_t kMaxPatchedColumns = 65536;

// Bytes of scratch that Linear() needs for `rows` rows of `in` elements.
int64_t LinearScratchBytes(int64_t rows, int64_t in);

// y = x W^T + bias: products and sums in fp32, the result rounded once to the weight's dtype.
//   x: [rows, in], y: [rows, out], fp32 with values of the weight's dtype
//   groups: cover all rows from 0 on, in order. Neighbours that share their index tables are
//       patched over each other, which saves reverting: put them side by side
//   scratch: LinearScratchBytes(rows, in) bytes, 64-byte aligned
// Takes up to 300 KiB of every thread's stack; each keeps memory for few rows' activations.
// REQUIRES: in <= kMaxPatchedColumns where a group has patches, and these lie within the weight.
void Linear(const LinearWeight& weight, const float* x, absl::Span<const RowGroup> groups, float* y,
            std::byte* scratch, const ParallelFor& parallel_for);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_KERNELS_LINEAR_H_
