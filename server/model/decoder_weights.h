// File: server/model/decoder_weights.h
//
// The resident weights by their place in the forward pass. What a model has not is undefined.

#ifndef SHIRA_SERVER_MODEL_DECODER_WEIGHTS_H_
#define SHIRA_SERVER_MODEL_DECODER_WEIGHTS_H_

#include <ATen/ATen.h>

#include <vector>

#include "base/dtype.h"
#include "server/model/resident_weights.h"

namespace shira {

// Views: whoever writes the resident memory writes these.
struct DecoderWeights {
  struct Layer {
    at::Tensor input_norm;               // [hidden]
    at::Tensor qkv, qkv_bias;            // [(heads + 2 * kv_heads) * head_dim, hidden]
    at::Tensor attention_out, out_bias;  // [hidden, heads * head_dim]
    at::Tensor post_norm;                // [hidden]
    at::Tensor gate_up, gate_up_bias;    // [2 * intermediate, hidden]
    at::Tensor down, down_bias;          // [hidden, intermediate]
  };

  DType dtype = DType::kF32;  // of all
  at::Tensor embedding;       // [vocab, hidden]
  at::Tensor final_norm;      // [hidden]
  at::Tensor lm_head;         // [vocab, hidden]; embedding when tied
  std::vector<Layer> layers;
};

// `weights` must outlive the views. Throws what LibTorch throws.
DecoderWeights ViewWeights(const ResidentWeights& weights);

// REQUIRES: a resident dtype.
at::ScalarType ScalarTypeOf(DType dtype);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_DECODER_WEIGHTS_H_
