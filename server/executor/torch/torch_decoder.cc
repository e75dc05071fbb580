#include "server/executor/torch/torch_decoder.h"

#include <ATen/TensorIndexing.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "server/model/torch_types.h"

namespace shira {
namespace {

// The first `2 * half` elements of each head through an angle: one half of them is the other axis of
// the other. heads: [tokens, heads, head_dim]; cos and sin: [tokens, 1, half].
at::Tensor Turn(const at::Tensor& heads, const at::Tensor& cos, const at::Tensor& sin) {
  const int64_t half = cos.size(-1);
  const at::Tensor a = heads.narrow(-1, 0, half);
  const at::Tensor b = heads.narrow(-1, half, half);
  std::vector<at::Tensor> parts = {a * cos - b * sin, b * cos + a * sin};
  if (const int64_t rest = heads.size(-1) - 2 * half; rest > 0) {
    parts.push_back(heads.narrow(-1, 2 * half, rest));
  }
  return at::cat(parts, -1);
}

}  // namespace

TorchDecoder::TorchDecoder(const TorchWeights& weights, const TorchCachePool& pool)
    : config_(weights.config()), dtype_(weights.dtype()), device_(weights.device()), pool_(pool) {
  for (const Rope& rope : config_.ropes) rotary_.emplace_back(rope, config_.head_dim, dtype_);
  const auto at = [&](TensorPlace place) {
    const at::Tensor weight = weights.At(place);
    place.bias = true;
    return Weights{weight, weights.At(place)};
  };
  embedding_ = weights.At({.role = TensorRole::kEmbedding});
  final_norm_ = at({.role = TensorRole::kFinalNorm});
  output_ =
      at({.role = config_.tie_word_embeddings ? TensorRole::kEmbedding : TensorRole::kOutput});
  const auto mlp_of = [&](int64_t layer, int64_t expert) {
    return MlpWeights{at({.role = TensorRole::kGateUp, .layer = layer, .expert = expert}),
                      at({.role = TensorRole::kDown, .layer = layer, .expert = expert})};
  };
  for (int64_t i = 0; i < config_.num_layers; ++i) {
    const auto in_layer = [&](TensorRole role) { return at({.role = role, .layer = i}); };
    layers_.push_back({.attention_norm = in_layer(TensorRole::kAttentionNorm),
                       .qkv = in_layer(TensorRole::kQueryKeyValue),
                       .query_norm = in_layer(TensorRole::kQueryNorm),
                       .key_norm = in_layer(TensorRole::kKeyNorm),
                       .sinks = in_layer(TensorRole::kAttentionSinks).weight,
                       .attention_out = in_layer(TensorRole::kAttentionOutput),
                       .attention_post_norm = in_layer(TensorRole::kAttentionPostNorm),
                       .mlp_norm = in_layer(TensorRole::kMlpNorm),
                       .mlp = mlp_of(i, TensorPlace::kWholeLayer),
                       .router = in_layer(TensorRole::kRouter),
                       .experts = {},
                       .mlp_post_norm = in_layer(TensorRole::kMlpPostNorm)});
    if (config_.layers[i].mlp != MlpKind::kMixture) continue;
    for (int64_t expert = 0; expert < config_.mixture.experts; ++expert) {
      layers_.back().experts.push_back(mlp_of(i, expert));
    }
  }
}

at::Tensor TorchDecoder::Forward(absl::Span<const BatchRow> rows) {
  const c10::InferenceMode inference;
  std::vector<int64_t> ids;
  std::vector<int64_t> wanted;  // tokens whose logits are
  std::vector<Segment> segments;
  for (const BatchRow& row : rows) {
    auto* cache = static_cast<TorchCache*>(row.cache);
    cache->Begin(static_cast<int64_t>(row.tokens.size()));
    segments.push_back({.cache = cache,
                        .begin = static_cast<int64_t>(ids.size()),
                        .tokens = static_cast<int64_t>(row.tokens.size()),
                        .position = cache->length(),
                        .kept = static_cast<int64_t>(row.tokens.size()) - row.drafted});
    ids.insert(ids.end(), row.tokens.begin(), row.tokens.end());
    for (int64_t i = row.logits(); i > 0; --i)
      wanted.push_back(static_cast<int64_t>(ids.size()) - i);
  }
  const auto on_device = [this](const std::vector<int64_t>& list) {
    return at::tensor(list, at::kLong).to(device_);
  };
  const std::vector<Angles> angles = AnglesOf(segments);
  at::Tensor hidden = at::embedding(embedding_, on_device(ids));
  if (const auto& [factor, rounded] = config_.embedding_scale; factor != 1.0) {
    const at::Tensor scale = at::scalar_tensor(factor, at::kDouble);
    hidden = hidden * (rounded ? scale.to(hidden.scalar_type()) : scale).item();
  }
  for (int64_t layer = 0; layer < config_.num_layers; ++layer) {
    hidden = RunLayer(layer, segments, angles, hidden);
  }
  hidden = Norm(hidden.index_select(0, on_device(wanted)), final_norm_);
  at::Tensor logits = at::linear(hidden, output_.weight, output_.bias);
  if (config_.logit_divisor != 1.0) logits = logits / config_.logit_divisor;
  if (const double cap = config_.logit_softcap; cap != 0.0) logits = at::tanh(logits / cap) * cap;
  logits = logits.to(at::kCPU, at::kFloat).contiguous();
  for (const Segment& segment : segments) segment.cache->Extend(segment.kept);
  return logits;
}

std::vector<TorchDecoder::Angles> TorchDecoder::AnglesOf(absl::Span<const Segment> segments) {
  int64_t tokens = 0, positions = 0;
  for (const Segment& segment : segments) {
    tokens += segment.tokens;
    positions = std::max(positions, segment.position + segment.tokens);
  }
  std::vector<Angles> angles;
  for (RotaryTable& rotary : rotary_) {
    rotary.Reserve(positions);
    const int64_t half = rotary.rotary_dim() / 2;
    const auto gather = [&](const float* (RotaryTable::*at)(int64_t) const) {
      at::Tensor table = at::empty({tokens, 1, half}, at::kFloat);
      float* to = table.mutable_data_ptr<float>();
      for (const Segment& segment : segments) {
        // The positions of a row follow each other in the table.
        std::memcpy(to + segment.begin * half, (rotary.*at)(segment.position),
                    segment.tokens * half * sizeof(float));
      }
      return table.to(device_, ScalarTypeOf(dtype_));
    };
    at::Tensor scales = at::empty({tokens, 1, 1}, at::kFloat);
    float* next = scales.mutable_data_ptr<float>();
    for (const Segment& segment : segments) {
      for (int64_t i = 0; i < segment.tokens; ++i)
        *next++ = rotary.query_scale(segment.position + i);
    }
    angles.push_back({gather(&RotaryTable::cos), gather(&RotaryTable::sin),
                      scales.to(device_, ScalarTypeOf(dtype_))});
  }
  return angles;
}

at::Tensor TorchDecoder::RunLayer(int64_t layer, absl::Span<const Segment> segments,
                                  absl::Span<const Angles> angles, const at::Tensor& hidden) {
  const Layer& weights = layers_[layer];
  const at::Tensor input = Norm(hidden, weights.attention_norm);
  const Heads heads = HeadsOf(config_.layers[layer], weights, angles, input);
  std::vector<at::Tensor> attended;
  for (const Segment& segment : segments) {
    const auto part = [&](const at::Tensor& x) {
      return x.narrow(0, segment.begin, segment.tokens);
    };
    attended.push_back(
        Attend(layer, segment, part(heads.queries), part(heads.keys), part(heads.values)));
  }
  const auto& [out, out_bias] = weights.attention_out;
  const at::Tensor after = hidden + Residual(at::linear(at::cat(attended, 0), out, out_bias),
                                             weights.attention_post_norm);
  at::Tensor mlp_input;
  if (!config_.parallel_residual) {
    mlp_input = Norm(after, weights.mlp_norm);
  } else {
    mlp_input = weights.mlp_norm.weight.defined() ? Norm(hidden, weights.mlp_norm) : input;
  }
  const at::Tensor branch = config_.layers[layer].mlp == MlpKind::kMixture
                                ? RunMixture(weights, mlp_input)
                                : Mlp(weights.mlp, mlp_input);
  return after + Residual(branch, weights.mlp_post_norm);
}

TorchDecoder::Heads TorchDecoder::HeadsOf(const LayerSpec& spec, const Layer& weights,
                                          absl::Span<const Angles> angles,
                                          const at::Tensor& input) const {
  const at::Tensor qkv = at::linear(input, weights.qkv.weight, weights.qkv.bias);
  const int64_t tokens = input.size(0);
  Heads heads;
  if (config_.query_key_value_rows == QueryKeyValueRows::kByHead) {
    const at::Tensor by_head = qkv.view({tokens, config_.num_heads, 3, config_.head_dim});
    heads = {by_head.select(2, 0), by_head.select(2, 1), by_head.select(2, 2)};
  } else {
    const at::Tensor stacked = qkv.view({tokens, -1, config_.head_dim});
    const int64_t queries = config_.num_heads, keys = config_.num_kv_heads;
    heads = {stacked.narrow(1, 0, queries), stacked.narrow(1, queries, keys),
             stacked.narrow(1, queries + keys, keys)};
  }
  heads.queries = NormHeads(heads.queries, weights.query_norm);
  heads.keys = NormHeads(heads.keys, weights.key_norm);
  if (spec.positions == Positions::kRotary) {
    const auto& [cos, sin, query_scales] = angles[spec.rope];
    heads.queries = Turn(heads.queries, cos, sin) * query_scales;
    heads.keys = Turn(heads.keys, cos, sin);
  }
  return heads;
}

at::Tensor TorchDecoder::NormHeads(const at::Tensor& heads, const Weights& norm) const {
  if (!norm.weight.defined()) return heads;
  switch (config_.head_norms) {
    case HeadNorms::kShared:
      break;
    case HeadNorms::kOwn: {
      const auto own = [&](const at::Tensor& x) {
        return x.defined() ? x.view({heads.size(1), heads.size(2)}) : x;
      };
      return Norm(heads, {own(norm.weight), own(norm.bias)});
    }
    case HeadNorms::kWhole:
      return Norm(heads.flatten(1), norm).view(heads.sizes());
  }
  return Norm(heads, norm);
}

at::Tensor TorchDecoder::Mlp(const MlpWeights& weights, const at::Tensor& input) const {
  const auto activate = [this](const at::Tensor& x) {
    switch (config_.activation) {
      case Activation::kGelu:
        return at::gelu(x);
      case Activation::kGeluTanh:
        return at::gelu(x, "tanh");
      case Activation::kSilu:
        break;
    }
    return at::silu(x);
  };
  at::Tensor branch = at::linear(input, weights.gate_up.weight, weights.gate_up.bias);
  if (config_.clamped_gate) {
    const auto& [slope, limit] = *config_.clamped_gate;
    const at::Tensor pairs = branch.view({branch.size(0), -1, 2});
    const at::Tensor gate = pairs.select(-1, 0).clamp_max(limit);
    const at::Tensor up = pairs.select(-1, 1).clamp(-limit, limit);
    branch = (up + 1) * (gate * at::sigmoid(gate * slope));
  } else if (config_.gated_mlp) {
    const int64_t width = branch.size(-1) / 2;
    branch = activate(branch.narrow(-1, 0, width)) * branch.narrow(-1, width, width);
  } else {
    branch = activate(branch);
  }
  return at::linear(branch, weights.down.weight, weights.down.bias);
}

at::Tensor TorchDecoder::RunMixture(const Layer& weights, const at::Tensor& input) const {
  const Mixture& mixture = config_.mixture;
  const at::Tensor scores = at::linear(input, weights.router.weight, weights.router.bias);
  auto [shares, chosen] = at::topk(at::softmax(scores, -1, at::kFloat), mixture.experts_per_token);
  if (mixture.normalised) shares = shares / shares.sum(-1, /*keepdim=*/true);
  if (mixture.rounds_weights) shares = shares.to(input.scalar_type());
  // Of each token's experts; products with them are as wide as the shares.
  at::Tensor outputs =
      at::zeros({input.size(0), mixture.experts_per_token, input.size(1)}, shares.options());
  for (int64_t expert = 0; expert < mixture.experts; ++expert) {
    const at::Tensor uses =
        at::nonzero(chosen == expert);  // [uses, 2]: token, which of its experts
    if (uses.size(0) == 0) continue;
    const at::Tensor tokens = uses.select(1, 0), ranks = uses.select(1, 1);
    const at::Tensor output = Mlp(weights.experts[expert], input.index_select(0, tokens));
    outputs.index_put_({tokens, ranks}, output.to(outputs.scalar_type()));
  }
  return (outputs * shares.unsqueeze(-1)).sum(1).to(input.scalar_type());
}

at::Tensor TorchDecoder::Residual(const at::Tensor& branch, const Weights& post_norm) const {
  const at::Tensor normed = Norm(branch, post_norm);
  return config_.residual_scale == 1.0 ? normed : normed * config_.residual_scale;
}

at::Tensor TorchDecoder::Attend(int64_t layer, const Segment& segment, const at::Tensor& queries,
                                const at::Tensor& keys, const at::Tensor& values) const {
  const LayerSpec& spec = config_.layers[layer];
  const TorchCache& cache = *segment.cache;
  const int64_t end = segment.position + segment.tokens;
  const int64_t group = pool_.group_of(layer);
  const at::Tensor own_slots = cache.slots(group, segment.position, end);
  at::Tensor(pool_.keys(layer)).index_copy_(0, own_slots, keys.contiguous());
  at::Tensor(pool_.values(layer)).index_copy_(0, own_slots, values.contiguous());

  // The first key that any of the tokens sees.
  const int64_t first =
      spec.window == 0 ? 0 : std::max<int64_t>(segment.position - spec.window + 1, 0);
  const at::Tensor slots = cache.slots(group, first, end);
  // [1, heads, tokens, head_dim]
  const auto by_head = [](const at::Tensor& x) { return x.transpose(0, 1).unsqueeze(0); };
  const at::Tensor mask = MaskOf(spec, segment, first);
  const at::Tensor heads = by_head(queries);
  const at::Tensor all_keys = by_head(pool_.keys(layer).index_select(0, slots));
  const at::Tensor all_values = by_head(pool_.values(layer).index_select(0, slots));
  at::Tensor attended;
  const at::Tensor& sinks = layers_[layer].sinks;
  if (config_.attention_softcap != 0.0 || sinks.defined()) {
    attended = ExplicitAttention(heads, all_keys, all_values, mask, sinks);
  } else {
    std::optional<double> scale;
    if (config_.attention_scale != 0.0) scale = config_.attention_scale;
    attended = at::scaled_dot_product_attention(
        heads, all_keys, all_values,
        mask.defined() ? std::optional<at::Tensor>(mask) : std::nullopt, /*dropout_p=*/0.0,
        /*is_causal=*/false, scale,
        /*enable_gqa=*/config_.num_heads != config_.num_kv_heads);
  }
  return attended.squeeze(0).transpose(0, 1).reshape({segment.tokens, -1});
}

at::Tensor TorchDecoder::ExplicitAttention(const at::Tensor& queries, const at::Tensor& keys,
                                           const at::Tensor& values, const at::Tensor& mask,
                                           const at::Tensor& sinks) const {
  const int64_t group = config_.num_heads / config_.num_kv_heads;
  const double scale = config_.attention_scale != 0.0
                           ? config_.attention_scale
                           : 1.0 / std::sqrt(static_cast<double>(config_.head_dim));
  const double cap = config_.attention_softcap;
  at::Tensor scores = at::matmul(queries, keys.repeat_interleave(group, 1).transpose(2, 3)) * scale;
  if (cap != 0.0) scores = at::tanh(scores / cap) * cap;
  if (mask.defined()) {
    scores = scores.masked_fill(mask.logical_not(), -std::numeric_limits<float>::infinity());
  }
  const int64_t count = scores.size(-1);
  if (sinks.defined()) {
    scores = at::cat({scores, sinks.view({1, -1, 1, 1}).expand({1, -1, scores.size(2), 1})}, -1);
  }
  const at::Tensor shares =
      at::softmax(scores, -1, at::kFloat).narrow(-1, 0, count).to(queries.scalar_type());
  return at::matmul(shares, values.repeat_interleave(group, 1));
}

at::Tensor TorchDecoder::MaskOf(const LayerSpec& spec, const Segment& segment,
                                int64_t first_key) const {
  if (segment.tokens == 1) return at::Tensor();
  const int64_t end = segment.position + segment.tokens;
  const at::Tensor query = at::arange(segment.position, end, device_).unsqueeze(1);
  const at::Tensor key = at::arange(first_key, end, device_).unsqueeze(0);
  const at::Tensor causal = key <= query;
  return spec.window == 0 ? causal : causal.logical_and(key > query - spec.window);
}

at::Tensor TorchDecoder::Norm(const at::Tensor& x, const Weights& norm) const {
  if (!norm.weight.defined()) return x;
  at::Tensor wide = x.to(at::kFloat);
  if (config_.norm == NormKind::kLayer) wide = wide - wide.mean(-1, /*keepdim=*/true);
  wide = wide * at::rsqrt(wide.square().mean(-1, /*keepdim=*/true) + config_.norm_eps);
  const at::ScalarType type = x.scalar_type();
  switch (config_.norm) {
    case NormKind::kRmsFloat:
      return (wide * norm.weight).to(type);
    case NormKind::kRmsPlusOne:
      return (wide * (norm.weight.to(at::kFloat) + 1.0)).to(type);
    case NormKind::kLayer: {
      const at::Tensor scaled = wide * norm.weight;
      return (norm.bias.defined() ? scaled + norm.bias : scaled).to(type);
    }
    case NormKind::kRms:
      break;
  }
  return norm.weight * wide.to(type);
}

}  // namespace shira
