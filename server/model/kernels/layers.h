// File: server/model/kernels/layers.h
//
// The small parts of a decoder layer, for one row of activations each. Activations are fp32 arrays
// whose values are of the resident dtype; every function rounds where transformers does. A row's
// result depends on that row alone. Resident arrays (`const void*`) are of `dtype`: kF32, kBF16 or
// kF16.

#ifndef SHIRA_SERVER_MODEL_KERNELS_LAYERS_H_
#define SHIRA_SERVER_MODEL_KERNELS_LAYERS_H_

#include <cstdint>

#include "absl/types/span.h"
#include "base/dtype.h"
#include "server/model/kernels/layer_kinds.h"
#include "server/model/kernels/linear.h"

namespace shira {

// to[i] = from[i], size elements.
void WidenRow(DType dtype, const void* from, int64_t size, float* to);

// What a patch makes of row `row` of its matrix. to: [cols], the row as it is in memory, widened.
void PatchRow(DType dtype, const WeightPatch& patch, int64_t row, float* to);

// x += delta, the end of a residual branch. Both: [size].
void AddRow(DType dtype, const float* delta, int64_t size, float* x);

// x = x * factor, x = x / divisor. x: [size].
void ScaleRow(DType dtype, double factor, int64_t size, float* x);
void DivideRow(DType dtype, double divisor, int64_t size, float* x);

// x = cap * tanh(x / cap), each step rounded. x: [size].
void SoftcapRow(DType dtype, double cap, int64_t size, float* x);

// What a norm multiplies with and adds, resident arrays of [size]. bias: null for none, and for all
// kinds but NormKind::kLayer.
struct NormWeights {
  const void* weight = nullptr;
  const void* bias = nullptr;
};

// y = norm of x. Both: [size]. y may be x.
void NormRow(DType dtype, NormKind kind, const float* x, const NormWeights& weights, double eps,
             int64_t size, float* y);

// Turns the first `rotary_dim` elements of each head in place, half-split: element i with element
// i + rotary_dim / 2.
//   heads: [num_heads, head_dim]; cos, sin: [rotary_dim / 2], values of the dtype
void RotateRow(DType dtype, const float* cos, const float* sin, int64_t num_heads, int64_t head_dim,
               int64_t rotary_dim, float* heads);

// y = activation(gate) * up. gate_up: [2 * size], gate first; y: [size].
void GateRow(DType dtype, Activation activation, const float* gate_up, int64_t size, float* y);

// y = what `gate` makes of pairs of a gate and an up, each step rounded. pairs: [size, 2]; y: [size].
void ClampedGateRow(DType dtype, const ClampedGate& gate, const float* pairs, int64_t size,
                    float* y);

// y = activation(x). Both: [size].
void ActivateRow(DType dtype, Activation activation, const float* x, int64_t size, float* y);

// y = sum of rows[indices[i]] * factors[i], in the order of i, summed in fp32 and rounded once; with
// `round_products` each product is rounded before it is added.
//   rows: [any, size]; indices, factors: of the same number; y: [size]
void SumWeightedRows(DType dtype, bool round_products, const float* rows,
                     absl::Span<const int64_t> indices, absl::Span<const float> factors,
                     int64_t size, float* y);

// Puts the rows of a projection that has each head's query, key and value together behind each
// other: by_head: [heads, 3, head_dim]; stacked: [3, heads, head_dim].
void StackHeadsRow(const float* by_head, int64_t heads, int64_t head_dim, float* stacked);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_KERNELS_LAYERS_H_
