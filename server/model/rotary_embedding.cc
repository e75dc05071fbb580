#include "server/model/rotary_embedding.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/reciprocal.h>
#include <ATen/ops/rsub.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <cmath>

#include "server/model/torch_types.h"

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

// theta^(2i / dim) for each pair i: what plain frequencies are the reciprocals of.
at::Tensor Periods(double theta, int64_t dim) {
  return at::pow(theta, at::arange(0, dim, 2, at::kFloat).div(static_cast<double>(dim)));
}

// A larger base for longer contexts; at the context that the model was trained for, its own.
double DynamicBase(const Rope& rope, int64_t dim) {
  const double factor = rope.scaling.factor;
  const double length = static_cast<double>(rope.scaling.original_max_position);
  const double growth = factor * length / length - (factor - 1.0);
  return rope.theta * std::pow(growth, static_cast<double>(dim) / static_cast<double>(dim - 2));
}

// The pair whose frequency turns `turns` times in the original context; may lie between two.
double PairThatTurns(double turns, const Rope& rope, int64_t dim) {
  const double context = static_cast<double>(rope.scaling.original_max_position);
  return static_cast<double>(dim) * std::log(context / (turns * 2 * M_PI)) /
         (2 * std::log(rope.theta));
}

// Fast frequencies are kept, slow ones divided by the factor, those between blended.
at::Tensor ScaleAsYarn(const Rope& rope, int64_t dim) {
  const RopeScaling& scaling = rope.scaling;
  double low = PairThatTurns(scaling.beta_fast, rope, dim);
  double high = PairThatTurns(scaling.beta_slow, rope, dim);
  if (scaling.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(dim - 1));
  if (low == high) high += 0.001;  // no division by zero

  const at::Tensor periods = Periods(rope.theta, dim);
  const at::Tensor kept = at::reciprocal(periods);
  const at::Tensor divided = at::reciprocal(periods.mul(scaling.factor));
  const at::Tensor ramp = at::arange(dim / 2, at::kFloat).sub(low).div(high - low).clamp(0, 1);
  const at::Tensor share_kept = at::rsub(ramp, 1);
  return divided.mul(at::rsub(share_kept, 1)).add(kept.mul(share_kept));
}

at::Tensor FrequenciesOf(const Rope& rope, int64_t dim) {
  const RopeScaling& scaling = rope.scaling;
  switch (scaling.kind) {
    case RopeScaling::Kind::kNone:
      return at::reciprocal(Periods(rope.theta, dim));
    case RopeScaling::Kind::kLinear:
      return at::reciprocal(Periods(rope.theta, dim)).div(scaling.factor);
    case RopeScaling::Kind::kDynamic:
      return at::reciprocal(Periods(DynamicBase(rope, dim), dim));
    case RopeScaling::Kind::kLlama3:
      return ScaleAsLlama3(at::reciprocal(Periods(rope.theta, dim)), scaling);
    case RopeScaling::Kind::kYarn:
      return ScaleAsYarn(rope, dim);
    case RopeScaling::Kind::kLongRope:
      return at::reciprocal(
          at::tensor(scaling.is_long ? scaling.long_factors : scaling.short_factors)
              .to(at::kFloat)
              .mul(Periods(rope.theta, dim)));
  }
  return {};
}

std::vector<float> FloatsOf(const at::Tensor& tensor) {
  const at::Tensor floats = tensor.to(at::kFloat).contiguous();
  const float* data = floats.const_data_ptr<float>();
  return {data, data + floats.numel()};
}

}  // namespace

RotaryEmbedding::RotaryEmbedding(const Rope& rope, int64_t head_dim)
    : attention_factor_(rope.scaling.attention_factor),
      query_scale_beta_(rope.query_scale_beta),
      original_max_position_(rope.scaling.original_max_position) {
  const c10::InferenceMode inference;
  inverse_frequencies_ = FloatsOf(FrequenciesOf(rope, rope.rotary_dim_of(head_dim)));
}

RotaryEmbedding::Angles RotaryEmbedding::Below(int64_t positions, DType dtype) const {
  const c10::InferenceMode inference;
  const at::Tensor frequencies =
      at::from_blob(const_cast<float*>(inverse_frequencies_.data()),
                    {static_cast<int64_t>(inverse_frequencies_.size())}, at::kFloat);
  const at::Tensor angles =
      at::arange(positions, at::kLong).to(at::kFloat).unsqueeze(1).mul(frequencies);
  const at::ScalarType type = ScalarTypeOf(dtype);
  Angles result{.cos = FloatsOf(angles.cos().mul(attention_factor_).to(type)),
                .sin = FloatsOf(angles.sin().mul(attention_factor_).to(type)),
                .query_scales = {}};
  if (query_scale_beta_ != 0.0) {
    const at::Tensor contexts =
        at::arange(positions, at::kLong).div(static_cast<double>(original_max_position_)).floor();
    result.query_scales = FloatsOf(contexts.add(1).log().mul(query_scale_beta_).add(1).to(type));
  }
  return result;
}

}  // namespace shira
