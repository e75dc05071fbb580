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
  // A norm's weights or a projection's biases. No data where the model has none.
  struct Vector {
    const void* data = nullptr;
    int64_t size = 0;
    int64_t place = -1;  // in `places`
  };
  // A matrix; weight.bias is where `bias` is.
  struct Projection {
    LinearWeight weight;
    int64_t place = -1;  // in `places`
    Vector bias;
  };
  struct Layer {
    Vector attention_norm;     // [hidden]
    Projection qkv;            // [(heads + 2 * kv_heads) * head_dim, hidden]
    Vector query_norm;         // [head_dim]
    Vector key_norm;           // [head_dim]
    Projection attention_out;  // [hidden, heads * head_dim]
    Vector mlp_norm;           // [hidden]
    Projection gate_up;        // [2 * intermediate, hidden]
    Projection down;           // [hidden, intermediate]
  };

  // Where a parameter is: the matrix or vector that it is a part of, and where it begins there.
  struct Part {
    int64_t place = -1;
    int64_t first = 0;  // row of the matrix, or element of the vector
  };

  DType dtype = DType::kF32;  // of all
  Projection embedding;       // [vocab, hidden]
  Vector final_norm;          // [hidden]
  Projection output;          // [vocab, hidden]; embedding when tied
  std::vector<Layer> layers;

  int64_t places = 0;       // matrices and vectors that there are
  std::vector<Part> parts;  // by position in ResidentWeights::parameters()
};

// `weights` must outlive the views.
DecoderWeights ViewWeights(const ResidentWeights& weights);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_DECODER_WEIGHTS_H_
