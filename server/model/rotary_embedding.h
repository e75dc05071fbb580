// File: server/model/rotary_embedding.h
//
// Rotary positions, half-split: element i of a head turns with element i + head_dim / 2. Angles as
// transformers computes them, bit for bit: frequencies, cosines and sines in fp32, then rounded to
// the model's dtype.

#ifndef SHIRA_SERVER_MODEL_ROTARY_EMBEDDING_H_
#define SHIRA_SERVER_MODEL_ROTARY_EMBEDDING_H_

#include <ATen/ATen.h>

#include <cstdint>

#include "server/model/model_config.h"

namespace shira {

// Immutable. Methods throw what LibTorch throws.
class RotaryEmbedding {
 public:
  explicit RotaryEmbedding(const ModelConfig& config);

  struct Angles {
    at::Tensor cos;  // [tokens, 1, head_dim / 2], in the dtype asked for
    at::Tensor sin;
  };
  // `positions`: [tokens], int64.
  Angles At(const at::Tensor& positions, at::ScalarType dtype) const;

  // Turns `heads` in place: [tokens, heads, head_dim], of the angles' dtype, rows may be strided.
  static void Apply(const Angles& angles, at::Tensor heads);

 private:
  at::Tensor inverse_frequencies_;  // [head_dim / 2], fp32
};

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_ROTARY_EMBEDDING_H_
