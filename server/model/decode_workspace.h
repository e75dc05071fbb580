// File: server/model/decode_workspace.h
//
// The memory of a decode step, allocated once.

#ifndef SHIRA_SERVER_MODEL_DECODE_WORKSPACE_H_
#define SHIRA_SERVER_MODEL_DECODE_WORKSPACE_H_

#include <ATen/ATen.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "server/model/kernels/decode_attention.h"
#include "server/model/model_config.h"

namespace shira {

// The most rows of activations of a decode step.
inline constexpr int64_t kMaxDecodeRows = 16;

// Activations are fp32 with values of the resident dtype; every buffer has room for kMaxDecodeRows
// rows, the first rows of the batch at its front.
class DecodeWorkspace {
  std::vector<at::Tensor> buffers_;  // first: it owns what the others point to
  float* Allocate(int64_t floats);

 public:
  // Throws what LibTorch throws.
  DecodeWorkspace(const ModelConfig& config, const DecodeAttentionShape& attention);

  float* const hidden;              // [rows, hidden]: the residual stream
  float* const normed;              // [rows, hidden]
  float* const branch;              // [rows, hidden]: what is added to the stream
  float* const qkv;                 // [rows, (heads + 2 * kv_heads) * head_dim]
  float* const attended;            // [rows, heads * head_dim]
  float* const gate_up;             // [rows, 2 * intermediate]
  float* const gated;               // [rows, intermediate]
  std::byte* const linear_scratch;  // for Linear() over the widest input
  float* const attention_scratch;   // for DecodeAttention()
  at::Tensor logits;                // [kMaxDecodeRows, vocab_size]
};

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_DECODE_WORKSPACE_H_
