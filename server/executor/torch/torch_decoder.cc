#include "server/executor/torch/torch_decoder.h"

#include <algorithm>
#include <cstring>

#include "server/executor/torch/torch_types.h"

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
  const auto linear = [&](TensorPlace place) {
    const at::Tensor weight = weights.At(place);
    place.bias = true;
    return Linear{weight, weights.At(place)};
  };
  embedding_ = weights.At({.role = TensorRole::kEmbedding});
  final_norm_ = weights.At({.role = TensorRole::kFinalNorm});
  output_ =
      linear({.role = config_.tie_word_embeddings ? TensorRole::kEmbedding : TensorRole::kOutput});
  for (int64_t i = 0; i < config_.num_layers; ++i) {
    const auto at = [i](TensorRole role) { return TensorPlace{.role = role, .layer = i}; };
    layers_.push_back({.attention_norm = weights.At(at(TensorRole::kAttentionNorm)),
                       .query_norm = weights.At(at(TensorRole::kQueryNorm)),
                       .key_norm = weights.At(at(TensorRole::kKeyNorm)),
                       .mlp_norm = weights.At(at(TensorRole::kMlpNorm)),
                       .qkv = linear(at(TensorRole::kQueryKeyValue)),
                       .attention_out = linear(at(TensorRole::kAttentionOutput)),
                       .gate_up = linear(at(TensorRole::kGateUp)),
                       .down = linear(at(TensorRole::kDown))});
  }
}

at::Tensor TorchDecoder::Forward(absl::Span<const BatchRow> rows) {
  const c10::InferenceMode inference;
  std::vector<int64_t> ids;
  std::vector<int64_t> wanted;  // tokens whose logits are
  std::vector<Segment> segments;
  for (const BatchRow& row : rows) {
    auto* cache = static_cast<TorchCache*>(row.cache);
    segments.push_back({.cache = cache,
                        .begin = static_cast<int64_t>(ids.size()),
                        .tokens = static_cast<int64_t>(row.tokens.size()),
                        .position = cache->length()});
    ids.insert(ids.end(), row.tokens.begin(), row.tokens.end());
    if (row.wants_logits) wanted.push_back(static_cast<int64_t>(ids.size()) - 1);
  }
  const auto on_device = [this](const std::vector<int64_t>& list) {
    return at::tensor(list, at::kLong).to(device_);
  };
  const std::vector<Angles> angles = AnglesOf(segments);
  at::Tensor hidden = at::embedding(embedding_, on_device(ids));
  for (int64_t layer = 0; layer < config_.num_layers; ++layer) {
    hidden = RunLayer(layer, segments, angles, hidden);
  }
  hidden = Norm(hidden.index_select(0, on_device(wanted)), final_norm_);
  at::Tensor logits = at::linear(hidden, output_.weight, output_.bias);
  logits = logits.to(at::kCPU, at::kFloat).contiguous();
  for (const Segment& segment : segments) segment.cache->Extend(segment.tokens);
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
    angles.push_back({gather(&RotaryTable::cos), gather(&RotaryTable::sin)});
  }
  return angles;
}

at::Tensor TorchDecoder::RunLayer(int64_t layer, absl::Span<const Segment> segments,
                                  absl::Span<const Angles> angles, const at::Tensor& hidden) {
  const LayerSpec& spec = config_.layers[layer];
  const Layer& weights = layers_[layer];
  const auto multiply = [](const Linear& linear, const at::Tensor& x) {
    return at::linear(x, linear.weight, linear.bias);
  };

  const at::Tensor qkv = multiply(weights.qkv, Norm(hidden, weights.attention_norm))
                             .view({hidden.size(0), -1, config_.head_dim});
  at::Tensor queries = qkv.narrow(1, 0, config_.num_heads);
  at::Tensor keys = qkv.narrow(1, config_.num_heads, config_.num_kv_heads);
  const at::Tensor values =
      qkv.narrow(1, config_.num_heads + config_.num_kv_heads, config_.num_kv_heads);
  if (weights.query_norm.defined()) queries = Norm(queries, weights.query_norm);
  if (weights.key_norm.defined()) keys = Norm(keys, weights.key_norm);
  if (spec.positions == Positions::kRotary) {
    const auto& [cos, sin] = angles[spec.rope];
    queries = Turn(queries, cos, sin);
    keys = Turn(keys, cos, sin);
  }
  std::vector<at::Tensor> attended;
  for (const Segment& segment : segments) {
    const auto part = [&](const at::Tensor& x) {
      return x.narrow(0, segment.begin, segment.tokens);
    };
    attended.push_back(Attend(layer, segment, part(queries), part(keys), part(values)));
  }
  const at::Tensor after = hidden + multiply(weights.attention_out, at::cat(attended, 0));

  const at::Tensor gate_up = multiply(weights.gate_up, Norm(after, weights.mlp_norm));
  const at::Tensor gate = gate_up.narrow(-1, 0, config_.intermediate_size);
  const at::Tensor up = gate_up.narrow(-1, config_.intermediate_size, config_.intermediate_size);
  return after + multiply(weights.down, at::silu(gate) * up);
}

at::Tensor TorchDecoder::Attend(int64_t layer, const Segment& segment, const at::Tensor& queries,
                                const at::Tensor& keys, const at::Tensor& values) const {
  const LayerSpec& spec = config_.layers[layer];
  const TorchCache& cache = *segment.cache;
  const int64_t end = segment.position + segment.tokens;
  const at::Tensor own_slots = cache.slots(segment.position, end);
  at::Tensor(pool_.keys(layer)).index_copy_(0, own_slots, keys.contiguous());
  at::Tensor(pool_.values(layer)).index_copy_(0, own_slots, values.contiguous());

  // The first key that any of the tokens sees.
  const int64_t first =
      spec.window == 0 ? 0 : std::max<int64_t>(segment.position - spec.window + 1, 0);
  const at::Tensor slots = cache.slots(first, end);
  // [1, heads, tokens, head_dim]
  const auto by_head = [](const at::Tensor& x) { return x.transpose(0, 1).unsqueeze(0); };
  const at::Tensor mask = MaskOf(spec, segment, first);
  const at::Tensor attended = at::scaled_dot_product_attention(
      by_head(queries), by_head(pool_.keys(layer).index_select(0, slots)),
      by_head(pool_.values(layer).index_select(0, slots)),
      mask.defined() ? std::optional<at::Tensor>(mask) : std::nullopt, /*dropout_p=*/0.0,
      /*is_causal=*/false, /*scale=*/std::nullopt,
      /*enable_gqa=*/config_.num_heads != config_.num_kv_heads);
  return attended.squeeze(0).transpose(0, 1).reshape({segment.tokens, -1});
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

at::Tensor TorchDecoder::Norm(const at::Tensor& x, const at::Tensor& weight) const {
  const at::Tensor wide = x.to(at::kFloat);
  const at::Tensor mean = wide.square().mean(-1, /*keepdim=*/true);
  return weight * (wide * at::rsqrt(mean + config_.rms_norm_eps)).to(x.scalar_type());
}

}  // namespace shira
