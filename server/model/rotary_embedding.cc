#include "server/model/rotary_embedding.h"

#include <ATen/ATen.h>

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

at::ScalarType ScalarTypeOf(DType dtype) {
  switch (dtype) {
    case DType::kBF16:
      return at::kBFloat16;
    case DType::kF16:
      return at::kHalf;
    default:
      return at::kFloat;
  }
}

std::vector<float> FloatsOf(const at::Tensor& tensor) {
  const at::Tensor floats = tensor.to(at::kFloat).contiguous();
  const float* data = floats.const_data_ptr<float>();
  return {data, data + floats.numel()};
}

}  // namespace

RotaryEmbedding::RotaryEmbedding(const Rope& rope, int64_t head_dim) {
  const c10::InferenceMode inference;
  const int64_t rotary_dim = rope.rotary_dim_of(head_dim);
  const at::Tensor exponents =
      at::arange(0, rotary_dim, 2, at::kFloat).div(static_cast<double>(rotary_dim));
  at::Tensor frequencies = at::reciprocal(at::pow(rope.theta, exponents));
  switch (rope.scaling.kind) {
    case RopeScaling::Kind::kNone:
      break;
    case RopeScaling::Kind::kLinear:
      frequencies = frequencies.div(rope.scaling.factor);
      break;
    case RopeScaling::Kind::kLlama3:
      frequencies = ScaleAsLlama3(frequencies, rope.scaling);
      break;
  }
  inverse_frequencies_ = FloatsOf(frequencies);
}

RotaryEmbedding::Angles RotaryEmbedding::Below(int64_t positions, DType dtype) const {
  const c10::InferenceMode inference;
  const at::Tensor frequencies =
      at::from_blob(const_cast<float*>(inverse_frequencies_.data()),
                    {static_cast<int64_t>(inverse_frequencies_.size())}, at::kFloat);
  const at::Tensor angles =
      at::arange(positions, at::kLong).to(at::kFloat).unsqueeze(1).mul(frequencies);
  const at::ScalarType type = ScalarTypeOf(dtype);
  return {.cos = FloatsOf(angles.cos().to(type)), .sin = FloatsOf(angles.sin().to(type))};
}

}  // namespace shira
