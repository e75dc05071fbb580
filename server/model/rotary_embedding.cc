#include "server/model/rotary_embedding.h"

#include <cmath>

namespace shira {
namespace {

// Long wavelengths are divided by the factor, short ones kept, those between interpolated.
at::Tensor ScaleAsLlama3(const at::Tensor& frequencies, const RopeScaling& scaling) {
  const double context = static_cast<double>(scaling.original_max_position);
  const double longest_kept = context / scaling.high_freq_factor;
  const double shortest_divided = context / scaling.low_freq_factor;

  const at::Tensor wavelengths = at::reciprocal(frequencies).mul(2 * M_PI);
  const at::Tensor divided =
      at::where(wavelengths.gt(shortest_divided), frequencies.div(scaling.factor), frequencies);
  const at::Tensor smooth = at::reciprocal(wavelengths)
                                .mul(context)
                                .sub(scaling.low_freq_factor)
                                .div(scaling.high_freq_factor - scaling.low_freq_factor);
  const at::Tensor between =
      at::rsub(smooth, 1).mul(divided).div(scaling.factor).add(smooth.mul(divided));
  const at::Tensor is_between =
      wavelengths.lt(longest_kept).logical_or(wavelengths.gt(shortest_divided)).logical_not();
  return at::where(is_between, between, divided);
}

}  // namespace

RotaryEmbedding::RotaryEmbedding(const ModelConfig& config) {
  const at::Tensor exponents =
      at::arange(0, config.head_dim, 2, at::kFloat).div(static_cast<double>(config.head_dim));
  inverse_frequencies_ = at::reciprocal(at::pow(config.rope_theta, exponents));
  switch (config.rope_scaling.kind) {
    case RopeScaling::Kind::kNone:
      break;
    case RopeScaling::Kind::kLinear:
      inverse_frequencies_ = inverse_frequencies_.div(config.rope_scaling.factor);
      break;
    case RopeScaling::Kind::kLlama3:
      inverse_frequencies_ = ScaleAsLlama3(inverse_frequencies_, config.rope_scaling);
      break;
  }
}

RotaryEmbedding::Angles RotaryEmbedding::At(const at::Tensor& positions,
                                            at::ScalarType dtype) const {
  const at::Tensor angles =
      positions.to(at::kFloat).unsqueeze(1).mul(inverse_frequencies_).unsqueeze(1);
  return {.cos = angles.cos().to(dtype), .sin = angles.sin().to(dtype)};
}

}  // namespace shira
