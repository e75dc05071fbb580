// File: server/model/kernels/layer_kinds.h
//
// The kinds of norms and activations that the kernels have, apart from the kernels: a model's
// configuration names them.

#ifndef SHIRA_SERVER_MODEL_KERNELS_LAYER_KINDS_H_
#define SHIRA_SERVER_MODEL_KERNELS_LAYER_KINDS_H_

namespace shira {

enum class NormKind {
  kRms,         // x / rms(x), rounded, times the weight
  kRmsFloat,    // x / rms(x) times the weight, rounded once
  kRmsPlusOne,  // x / rms(x) times one more than the weight, rounded once
  kLayer,       // (x - mean(x)) / deviation(x) times the weight, plus the bias, rounded once
};

enum class Activation {
  kSilu,      // x / (1 + exp(-x))
  kGelu,      // x / 2 * (1 + erf(x / sqrt(2)))
  kGeluTanh,  // x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))
};

// What is made of a gate and an up of an MLP together: with g the gate, `limit` at most, and u the up,
// within `limit` on both sides, it is g / (1 + exp(-slope * g)) * (u + 1). Gates and ups come in pairs.
struct ClampedGate {
  double slope = 1.702;
  double limit = 7.0;
};

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_KERNELS_LAYER_KINDS_H_
