// File: server/model/rotary_embedding.h
//
// The angles of rotary positions, as transformers computes them, bit for bit: frequencies, cosines
// and sines in fp32, then rounded to the model's dtype.

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

 private:
  at::Tensor inverse_frequencies_;  // [head_dim / 2], fp32
};

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_ROTARY_EMBEDDING_H_
