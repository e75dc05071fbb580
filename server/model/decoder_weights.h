// File: server/model/decoder_weights.h
//
// The resident weights as the forward pass reads them, and where in them each parameter is, for what
// adapters change about it.

#ifndef SHIRA_SERVER_MODEL_DECODER_WEIGHTS_H_
#define SHIRA_SERVER_MODEL_DECODER_WEIGHTS_H_

#include <cstdint>
#include <vector>

#include "base/dtype.h"
#include "server/model/kernels/linear.h"
#include "server/model/resident_weights.h"

namespace shira {

// Views of the resident memory: a write there changes these.
struct DecoderWeights {
  // The weights or biases of a norm, or a projection's biases. No data where the model has none.
  struct Vector {
    const void* data = nullptr;
    int64_t size = 0;
    int64_t place = -1;  // in `places`
  };
  // No data in its weight where the model has no such norm.
  struct Norm {
    Vector weight;
    Vector bias;
  };
  // A matrix; weight.bias is where `bias` is. No data where the model has none.
  struct Projection {
    LinearWeight weight;
    int64_t place = -1;  // in `places`
    Vector bias;
  };
  // Shapes are those of the roles of the same names (tensor_spec.h).
  struct Mlp {
    Projection gate_up;
    Projection down;
  };
  struct Layer {
    Norm attention_norm;
    Projection qkv;
    Norm query_norm;
    Norm key_norm;
    Vector sinks;  // of the attention
    Projection attention_out;
    Norm attention_post_norm;
    Norm mlp_norm;
    Mlp mlp;  // of a layer without a mixture
    Projection router;
    std::vector<Mlp> experts;  // of a layer with a mixture
    Norm mlp_post_norm;
  };

  // Where a parameter is: the matrix or vector that it is a part of, and where it begins there.
  struct Part {
    int64_t place = -1;
    int64_t first = 0;  // row of the matrix, or element of the vector
  };

  DType dtype = DType::kF32;  // of all
  Projection embedding;       // [vocab, hidden]
  Norm final_norm;            // [hidden]
  Projection output;          // [vocab, hidden]; embedding when tied
  std::vector<Layer> layers;

  int64_t places = 0;       // matrices and vectors that there are
  std::vector<Part> parts;  // by position in ResidentWeights::parameters()
};

// `weights` must outlive the views.
DecoderWeights ViewWeights(const ResidentWeights& weights);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_DECODER_WEIGHTS_H_
