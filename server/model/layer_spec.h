// File: server/model/layer_spec.h
//
// What one layer of a decoder does that another of the same model may not. What all layers of a
// model do alike is in ModelConfig, and which norms and biases they have follows from its tensors.

#ifndef SHIRA_SERVER_MODEL_LAYER_SPEC_H_
#define SHIRA_SERVER_MODEL_LAYER_SPEC_H_

#include <cstdint>

namespace shira {

// What tells a layer's attention where a token is.
enum class Positions {
  kRotary,  // queries and keys are turned by their positions, half-split
  kNone,    // nothing but the causal mask
};

// What a layer does after its attention.
enum class MlpKind {
  kDense,    // one MLP for all tokens
  kMixture,  // every token chooses among ModelConfig::mixture's
};

struct LayerSpec {
  Positions positions = Positions::kRotary;
  int64_t rope = 0;  // which of ModelConfig::ropes turns the heads, where positions are rotary
  // Positions that a query attends to, its own among them and the others right before it; 0: all.
  int64_t window = 0;
  MlpKind mlp = MlpKind::kDense;
};

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_LAYER_SPEC_H_
