#include "server/model/decoder.h"

#include <vector>

#include "server/model/linear.h"

namespace shira {

Decoder::Decoder(const ResidentWeights& weights)
    : config_(weights.config()),
      dtype_(ScalarTypeOf(weights.dtype())),
      attention_{.num_heads = config_.num_heads,
                 .num_kv_heads = config_.num_kv_heads,
                 .head_dim = config_.head_dim},
      rotary_(config_),
      weights_(ViewWeights(weights)),
      decode_step_(config_, weights_, rotary_) {}

at::Tensor Decoder::Forward(absl::Span<const DecoderRow> rows) {
  if (DecodeStep::Takes(rows)) return decode_step_.Run(rows);
  std::vector<Segment> segments;
  std::vector<int64_t> ids;
  std::vector<int64_t> positions;
  std::vector<int64_t> wanted;  // tokens whose logits are wanted, among all tokens
  for (const DecoderRow& row : rows) {
    const int64_t past = row.cache->length();
    const int64_t tokens = static_cast<int64_t>(row.tokens.size());
    segments.push_back({.cache = row.cache,
                        .begin = static_cast<int64_t>(ids.size()),
                        .tokens = tokens,
                        .mask = CausalMask(tokens, past + tokens, dtype_)});
    for (int64_t i = 0; i < tokens; ++i) {
      ids.push_back(row.tokens[i]);
      positions.push_back(past + i);
    }
    if (row.wants_logits) wanted.push_back(static_cast<int64_t>(ids.size()) - 1);
  }

  const RotaryEmbedding::Angles angles =
      rotary_.At(at::tensor(positions, at::TensorOptions(at::kLong)), dtype_);
  at::Tensor x = weights_.embedding.index_select(0, at::tensor(ids, at::TensorOptions(at::kLong)));
  for (int64_t i = 0; i < config_.num_layers; ++i) {
    const DecoderWeights::Layer& layer = weights_.layers[i];
    x.add_(AttentionBlock(i, RmsNorm(x, layer.input_norm, config_.rms_norm_eps), angles, segments));
    const at::Tensor normed = RmsNorm(x, layer.post_norm, config_.rms_norm_eps);
    const at::Tensor gated = SiluGate(Linear(normed, layer.gate_up, layer.gate_up_bias));
    x.add_(Linear(gated, layer.down, layer.down_bias));
  }

  at::Tensor logits = at::empty({0, config_.vocab_size}, at::kFloat);
  if (!wanted.empty()) {
    const at::Tensor last = x.index_select(0, at::tensor(wanted, at::TensorOptions(at::kLong)));
    logits = Linear(RmsNorm(last, weights_.final_norm, config_.rms_norm_eps), weights_.lm_head, {})
                 .to(at::kFloat);
  }
  // Nothing below can throw.
  for (const Segment& segment : segments) segment.cache->Extend(segment.tokens);
  return logits;
}

at::Tensor Decoder::AttentionBlock(int64_t layer, const at::Tensor& x,
                                   const RotaryEmbedding::Angles& angles,
                                   absl::Span<const Segment> segments) const {
  const auto [heads, kv_heads, head_dim] = attention_;
  const DecoderWeights::Layer& weights = weights_.layers[layer];
  const int64_t tokens = x.size(0);
  const at::Tensor qkv =
      Linear(x, weights.qkv, weights.qkv_bias).view({tokens, heads + 2 * kv_heads, head_dim});
  RotaryEmbedding::Apply(angles, qkv.narrow(1, 0, heads + kv_heads));

  const at::Tensor attended = at::empty({tokens, heads * head_dim}, x.options());
  for (const Segment& segment : segments) {
    const KvCache& cache = *segment.cache;
    const int64_t past = cache.length();
    const at::Tensor own = qkv.narrow(0, segment.begin, segment.tokens);
    // Stores the new keys or values and returns all of them: [kv_heads, length, head_dim].
    const auto append = [&](std::byte* memory, int64_t first_head) {
      const at::Tensor all = at::from_blob(memory, {kv_heads, past + segment.tokens, head_dim},
                                           {cache.capacity() * head_dim, head_dim, 1}, dtype_);
      all.narrow(1, past, segment.tokens)
          .copy_(own.narrow(1, first_head, kv_heads).transpose(0, 1));
      return all;
    };
    const at::Tensor keys = append(cache.keys(layer), heads);
    const at::Tensor values = append(cache.values(layer), heads + kv_heads);
    Attend(attention_, own.narrow(1, 0, heads), keys, values, segment.mask,
           attended.narrow(0, segment.begin, segment.tokens));
  }
  return Linear(attended, weights.attention_out, weights.out_bias);
}

}  // namespace shira
