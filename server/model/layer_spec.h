// File: server/model/layer_spec.h
//
// What one layer of a decoder does that another may not. In every family that there is
//
//   hidden += attention(norm(hidden)), hidden += mlp(norm(hidden))
//
// with RMS norms, causal attention of grouped heads, and an MLP whose gate is a SiLU. Which biases
// and norms of heads there are follows from the tensors. A family that does something else adds a
// member here whose default is this, and a branch in the decoder.

#ifndef SHIRA_SERVER_MODEL_LAYER_SPEC_H_
#define SHIRA_SERVER_MODEL_LAYER_SPEC_H_

#include <cstdint>

namespace shira {

// What tells a layer's attention where a token is.
enum class Positions {
  kRotary,  // queries and keys are turned by their positions, half-split
  kNone,    // nothing but the causal mask
};

struct LayerSpec {
  Positions positions = Positions::kRotary;
  int64_t rope = 0;  // which of ModelConfig::ropes turns the heads, where positions are rotary
  // Positions that a query attends to, its own among them and the others right before it; 0: all.
  int64_t window = 0;
};

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_LAYER_SPEC_H_
