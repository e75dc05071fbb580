#include "server/model/decode_workspace.h"

#include <algorithm>

#include "server/model/kernels/linear.h"

namespace shira {

DecodeWorkspace::DecodeWorkspace(const ModelConfig& config, const DecodeAttentionShape& attention)
    : hidden(Allocate(kMaxDecodeRows * config.hidden_size)),
      normed(Allocate(kMaxDecodeRows * config.hidden_size)),
      branch(Allocate(kMaxDecodeRows * config.hidden_size)),
      qkv(Allocate(kMaxDecodeRows * (config.num_heads + 2 * config.num_kv_heads) *
                   config.head_dim)),
      attended(Allocate(kMaxDecodeRows * config.num_heads * config.head_dim)),
      gate_up(Allocate(kMaxDecodeRows * 2 * config.intermediate_size)),
      gated(Allocate(kMaxDecodeRows * config.intermediate_size)),
      linear_scratch(reinterpret_cast<std::byte*>(Allocate(
          LinearScratchBytes(kMaxDecodeRows,
                             std::max({config.hidden_size, config.num_heads * config.head_dim,
                                       config.intermediate_size})) /
          sizeof(float)))),
      attention_scratch(Allocate(DecodeAttentionScratch(attention, kMaxDecodeRows))),
      logits(at::empty({kMaxDecodeRows, config.vocab_size}, at::kFloat)) {}

float* DecodeWorkspace::Allocate(int64_t floats) {
  // LibTorch aligns to 64 bytes.
  return buffers_.emplace_back(at::empty({floats}, at::kFloat)).data_ptr<float>();
}

}  // namespace shira
