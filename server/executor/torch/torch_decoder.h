// File: server/executor/torch/torch_decoder.h
//
// The forward pass of a decoder-only transformer in LibTorch's operations, with transformers'
// roundings: what server/model/decoder.h does with our kernels, from the same configuration and
// layers.

#ifndef SHIRA_SERVER_EXECUTOR_TORCH_TORCH_DECODER_H_
#define SHIRA_SERVER_EXECUTOR_TORCH_TORCH_DECODER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "server/executor/batch_row.h"
#include "server/executor/torch/torch_cache.h"
#include "server/executor/torch/torch_weights.h"
#include "server/model/model_config.h"
#include "server/model/rotary_table.h"

namespace shira {

// Not thread-safe. Methods throw what LibTorch throws.
class TorchDecoder {
 public:
  // Reads the weights where they are, at each call; both must outlive this object.
  TorchDecoder(const TorchWeights& weights, const TorchCachePool& pool);

  // One pass over all rows; appends their tokens, but for drafted ones, to their caches, all or (when it throws) none.
  // Returns [logits that the rows want, vocab_size], fp32, on the CPU, in the rows' order. REQUIRES: as
  // ModelExecutor::Forward(), and the weights are those of every row's state; caches are TorchCaches.
  at::Tensor Forward(absl::Span<const BatchRow> rows);

 private:
  // A projection or a norm. Undefined where the model has none.
  struct Weights {
    at::Tensor weight, bias;
  };
  struct MlpWeights {
    Weights gate_up, down;
  };
  struct Layer {
    Weights attention_norm, qkv, query_norm, key_norm;
    at::Tensor sinks;  // of the attention, [heads]
    Weights attention_out, attention_post_norm;
    Weights mlp_norm;
    MlpWeights mlp;  // of a layer without a mixture
    Weights router;
    std::vector<MlpWeights> experts;  // of a layer with a mixture
    Weights mlp_post_norm;
  };
  // [tokens, heads, head_dim]
  struct Heads {
    at::Tensor queries, keys, values;
  };
  // A row's tokens among those of the pass.
  struct Segment {
    TorchCache* cache;
    int64_t begin;  // of its tokens, in the pass
    int64_t tokens;
    int64_t position;  // of the first one, in its sequence
    int64_t kept;      // tokens that are not drafted
  };
  // Of the pass's positions.
  struct Angles {
    at::Tensor cos, sin;      // [tokens, 1, rotary_dim / 2]
    at::Tensor query_scales;  // [tokens, 1, 1]
  };

  // Of every kind of rotary positions that the model has.
  std::vector<Angles> AnglesOf(absl::Span<const Segment> segments);
  at::Tensor RunLayer(int64_t layer, absl::Span<const Segment> segments,
                      absl::Span<const Angles> angles, const at::Tensor& hidden);
  // Through their norms and to their positions. input: [tokens, hidden]
  Heads HeadsOf(const LayerSpec& spec, const Layer& weights, absl::Span<const Angles> angles,
                const at::Tensor& input) const;
  // [tokens, heads * head_dim], after the row's keys and values are in its cache.
  at::Tensor Attend(int64_t layer, const Segment& segment, const at::Tensor& queries,
                    const at::Tensor& keys, const at::Tensor& values) const;
  // [tokens, keys]: which keys a row's tokens see. Undefined: all.
  at::Tensor MaskOf(const LayerSpec& spec, const Segment& segment, int64_t first_key) const;
  // The same as scaled_dot_product_attention(), which neither caps scores nor has sinks.
  // [1, heads, tokens or keys, head_dim]; sinks: undefined where there are none
  at::Tensor ExplicitAttention(const at::Tensor& queries, const at::Tensor& keys,
                               const at::Tensor& values, const at::Tensor& mask,
                               const at::Tensor& sinks) const;
  at::Tensor Mlp(const MlpWeights& weights, const at::Tensor& input) const;
  // What a mixture of experts makes of input: [tokens, hidden], as the result.
  at::Tensor RunMixture(const Layer& weights, const at::Tensor& input) const;
  // What a branch adds to the hidden state.
  at::Tensor Residual(const at::Tensor& branch, const Weights& post_norm) const;
  // Over the last dimension; x itself where there is no norm.
  at::Tensor Norm(const at::Tensor& x, const Weights& norm) const;
  at::Tensor NormHeads(const at::Tensor& heads, const Weights& norm) const;

  const ModelConfig& config_;
  const DType dtype_;
  const at::Device device_;
  const TorchCachePool& pool_;
  std::vector<RotaryTable> rotary_;  // by ModelConfig::ropes
  at::Tensor embedding_;
  Weights final_norm_, output_;
  std::vector<Layer> layers_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_EXECUTOR_TORCH_TORCH_DECODER_H_
