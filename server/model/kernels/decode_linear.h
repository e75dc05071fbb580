// File: server/model/kernels/decode_linear.h
//
// A linear layer for few rows of activations: its time is the time to read the weights. Weights
// stay row-major where they are, so that a switch can write them between two calls. For many rows
// LibTorch's products (server/model/linear.h) are faster.

#ifndef SHIRA_SERVER_MODEL_KERNELS_DECODE_LINEAR_H_
#define SHIRA_SERVER_MODEL_KERNELS_DECODE_LINEAR_H_

#include <cstdint>

#include "base/dtype.h"
#include "base/parallel.h"

namespace shira {

// The most rows of activations of one call of a decode kernel.
inline constexpr int64_t kMaxDecodeRows = 16;

// A resident projection. The memory must outlive the calls.
struct DecodeWeight {
  const void* data = nullptr;  // [out, in], row-major, of `dtype`
  const void* bias = nullptr;  // [out], of `dtype`; null where there is none
  DType dtype = DType::kF32;   // kF32, kBF16 or kF16
  int64_t out = 0;
  int64_t in = 0;
};

// Floats of scratch that DecodeLinear() needs for `rows` rows of `in` elements.
int64_t DecodeLinearScratch(int64_t rows, int64_t in);

// y = x W^T + bias: products and sums in fp32, the result rounded once to the weight's dtype.
//   x: [rows, in], y: [rows, out], fp32; values of x are taken as they are, y's are of the dtype
//   rows: 1 to kMaxDecodeRows
//   scratch: DecodeLinearScratch(rows, in) floats, 64-byte aligned
// A row's result is the same bit for bit whatever the other rows, their number and its place among
// them, and however parallel_for splits the loop. (It may differ between CPUs.)
void DecodeLinear(const DecodeWeight& weight, const float* x, int64_t rows, float* y,
                  float* scratch, const ParallelFor& parallel_for);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_KERNELS_DECODE_LINEAR_H_
