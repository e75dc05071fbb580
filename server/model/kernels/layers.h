// File: server/model/kernels/layers.h
//
// The small parts of a decoder layer, for one row of activations each. Activations are fp32 arrays
// whose values are of the resident dtype; every function rounds where transformers does. A row's
// result depends on that row alone. Resident arrays (`const void*`) are of `dtype`: kF32, kBF16 or
// kF16.

#ifndef SHIRA_SERVER_MODEL_KERNELS_LAYERS_H_
#define SHIRA_SERVER_MODEL_KERNELS_LAYERS_H_

#include <cstdint>

#include "base/dtype.h"
#include "server/model/kernels/linear.h"

namespace shira {

// to[i] = from[i], size elements.
void WidenRow(DType dtype, const void* from, int64_t size, float* to);

// What a patch makes of row `row` of its matrix. to: [cols], the row as it is in memory, widened.
void PatchRow(DType dtype, const WeightPatch& patch, int64_t row, float* to);

// x += delta, the end of a residual branch. Both: [size].
void AddRow(DType dtype, const float* delta, int64_t size, float* x);

// y = x / rms(x), rounded, times weight. All: [size]. y may be x.
void RmsNormRow(DType dtype, const float* x, const void* weight, double eps, int64_t size,
                float* y);

// Turns the first `rotary_dim` elements of each head in place, half-split: element i with element
// i + rotary_dim / 2.
//   heads: [num_heads, head_dim]; cos, sin: [rotary_dim / 2], values of the dtype
void RotateRow(DType dtype, const float* cos, const float* sin, int64_t num_heads, int64_t head_dim,
               int64_t rotary_dim, float* heads);

// y = silu(gate) * up. gate_up: [2 * size], gate first; y: [size].
void SiluGateRow(DType dtype, const float* gate_up, int64_t size, float* y);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_KERNELS_LAYERS_H_
