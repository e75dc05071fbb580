// File: server/model/layers.h
//
// The parts of a decoder layer as pure functions of tensors. Rounding steps are transformers'.
// Throw what LibTorch throws.

#ifndef SHIRA_SERVER_MODEL_LAYERS_H_
#define SHIRA_SERVER_MODEL_LAYERS_H_

#include <ATen/ATen.h>

#include <cstdint>

namespace shira {

// x / rms(x) in fp32, rounded to the dtype, times weight. x: [tokens, hidden]; weight: [hidden].
at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps);

// silu(gate) * up. gate_up: [tokens, 2 * intermediate], gate first. Returns [tokens, intermediate].
at::Tensor SiluGate(const at::Tensor& gate_up);

// The sizes of one attention layer.
struct AttentionShape {
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;  // divides num_heads
  int64_t head_dim = 0;

  int64_t queries_per_kv_head() const { return num_heads / num_kv_heads; }
};

// Causal attention of one sequence's last tokens over all its tokens. The queries belong to the
// positions [length - tokens, length).
//   queries: [tokens, num_heads, head_dim]; tokens may be strided
//   keys, values: [num_kv_heads, length, head_dim]; heads may be strided
//   mask: [tokens, length], 0 or -infinity, of the queries' dtype; undefined for one token, or when
//         tokens == length
// Writes [tokens, num_heads * head_dim] to `output`.
void Attend(const AttentionShape& shape, const at::Tensor& queries, const at::Tensor& keys,
            const at::Tensor& values, const at::Tensor& mask, at::Tensor output);

// The mask for Attend(); undefined where it needs none.
at::Tensor CausalMask(int64_t tokens, int64_t length, at::ScalarType dtype);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_LAYERS_H_
