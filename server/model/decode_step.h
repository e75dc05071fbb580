// File: server/model/decode_step.h
//
// The forward pass in which every sequence goes on by one token. Its time is the time to read the
// weights once, so it calls few kernels, allocates nothing and leaves LibTorch's operators out.

#ifndef SHIRA_SERVER_MODEL_DECODE_STEP_H_
#define SHIRA_SERVER_MODEL_DECODE_STEP_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "base/parallel.h"
#include "server/model/decode_workspace.h"
#include "server/model/decoder_row.h"
#include "server/model/decoder_weights.h"
#include "server/model/kernels/decode_attention.h"
#include "server/model/kernels/linear.h"
#include "server/model/model_config.h"
#include "server/model/rotary_embedding.h"
#include "server/model/rotary_table.h"

namespace shira {

// Methods throw what LibTorch throws. Not thread-safe.
class DecodeStep {
 public:
  // Reads the weights where they are, at each call; they, `config` and `rotary` must outlive this
  // object.
  DecodeStep(const ModelConfig& config, const DecoderWeights& weights,
             const RotaryEmbedding& rotary);

  // Whether these rows are a decode step: one token each, at most kMaxDecodeRows of them.
  static bool Takes(absl::Span<const DecoderRow> rows);

  // As Decoder::Forward(); the logits are valid until the next call. A row's logits and its cache
  // are the same bit for bit whatever the other rows and the number of threads. REQUIRES:
  // Takes(rows).
  at::Tensor Run(absl::Span<const DecoderRow> rows);

 private:
  struct Layer {
    const void* input_norm;
    LinearWeight qkv;
    LinearWeight attention_out;
    const void* post_norm;
    LinearWeight gate_up;
    LinearWeight down;
  };

  // hidden += attention of a layer; hidden += its MLP.
  void Attention(int64_t layer, absl::Span<const DecoderRow> rows);
  void Mlp(int64_t layer, int64_t rows);

  void Norm(const void* weight, int64_t rows);  // hidden to normed
  void AddBranch(int64_t rows);                 // branch to hidden
  void Multiply(const LinearWeight& weight, const float* x, int64_t rows, float* y);
  // A row's new keys and values, from its part of qkv, into its cache behind what that holds.
  void AppendToCache(int64_t layer, const KvCache& cache, const float* keys, const float* values);

  const ModelConfig& config_;
  const DType dtype_;
  const DecodeAttentionShape attention_;
  const ParallelFor parallel_for_;
  const void* embedding_;   // [vocab, hidden]
  const void* final_norm_;  // [hidden]
  LinearWeight lm_head_;
  std::vector<Layer> layers_;
  RotaryTable rotary_;
  DecodeWorkspace workspace_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_DECODE_STEP_H_
