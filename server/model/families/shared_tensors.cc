#include "server/model/families/shared_tensors.h"

#include <cstdint>
#include <string>

#include "base/strings.h"

namespace shira {

std::vector<TensorSpec> SharedTensors(const ModelConfig& config,
                                      const SharedTensorOptions& options) {
  std::vector<TensorSpec> tensors;
  // Adds one of the model, or one of a layer.
  const auto add = [&](std::string_view name, std::string_view gguf_name, TensorPlace place,
                       std::vector<int64_t> shape, GgufRows rows = GgufRows::kSame) {
    const bool whole = place.layer == TensorPlace::kWholeModel;
    const std::string_view kind = place.bias ? ".bias" : ".weight";
    const std::string at = whole ? "" : StrCat("model.layers.", place.layer, ".");
    const std::string gguf_at = whole ? "" : StrCat("blk.", place.layer, ".");
    tensors.push_back({.name = StrCat(at, name, kind),
                       .gguf_name = StrCat(gguf_at, gguf_name, kind),
                       .shape = std::move(shape),
                       .place = place,
                       .gguf_rows = rows,
                       .second_name = ""});
  };
  const auto project = [&](std::string_view name, std::string_view gguf_name, TensorPlace place,
                           int64_t out, int64_t in, bool bias, GgufRows rows = GgufRows::kSame) {
    add(name, gguf_name, place, {out, in}, rows);
    place.bias = true;
    if (bias) add(name, gguf_name, place, {out}, rows);
  };

  const int64_t hidden = config.hidden_size;
  const int64_t wide = config.intermediate_size;
  const int64_t queries = config.num_heads * config.head_dim;
  const int64_t keys = config.num_kv_heads * config.head_dim;
  add("model.embed_tokens", "token_embd", {.role = TensorRole::kEmbedding},
      {config.vocab_size, hidden});
  if (config.tie_word_embeddings) tensors.back().second_name = "lm_head.weight";
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const auto at = [layer](TensorRole role) { return TensorPlace{.role = role, .layer = layer}; };
    add("input_layernorm", "attn_norm", at(TensorRole::kAttentionNorm), {hidden});
    const TensorPlace qkv = at(TensorRole::kQueryKeyValue);
    const bool bias = options.query_key_value_bias;
    const GgufRows rotary = options.gguf_rotary_rows;
    if (options.fused) {
      add("self_attn.qkv_proj", "attn_qkv", qkv, {queries + 2 * keys, hidden});
    } else {
      project("self_attn.q_proj", "attn_q", qkv, queries, hidden, bias, rotary);
      project("self_attn.k_proj", "attn_k", qkv, keys, hidden, bias, rotary);
      project("self_attn.v_proj", "attn_v", qkv, keys, hidden, bias);
    }
    if (options.head_norms) {
      add("self_attn.q_norm", "attn_q_norm", at(TensorRole::kQueryNorm), {config.head_dim});
      add("self_attn.k_norm", "attn_k_norm", at(TensorRole::kKeyNorm), {config.head_dim});
    }
    project("self_attn.o_proj", "attn_output", at(TensorRole::kAttentionOutput), hidden, queries,
            options.attention_output_bias);
    add("post_attention_layernorm", "ffn_norm", at(TensorRole::kMlpNorm), {hidden});
    const TensorPlace gate_up = at(TensorRole::kGateUp);
    if (options.fused) {
      add("mlp.gate_up_proj", "ffn_up", gate_up, {2 * wide, hidden});
    } else {
      project("mlp.gate_proj", "ffn_gate", gate_up, wide, hidden, options.mlp_bias);
      project("mlp.up_proj", "ffn_up", gate_up, wide, hidden, options.mlp_bias);
    }
    project("mlp.down_proj", "ffn_down", at(TensorRole::kDown), hidden, wide, options.mlp_bias);
  }
  add("model.norm", "output_norm", {.role = TensorRole::kFinalNorm}, {hidden});
  if (!config.tie_word_embeddings) {
    add("lm_head", "output", {.role = TensorRole::kOutput}, {config.vocab_size, hidden});
  }
  return tensors;
}

std::vector<TensorSpec> LlamaTensors(const ModelConfig& config) {
  return SharedTensors(config, {.query_key_value_bias = config.attention_bias,
                                .attention_output_bias = config.attention_bias,
                                .mlp_bias = config.mlp_bias,
                                .gguf_rotary_rows = GgufRows::kInterleavedHalves});
}

bool HasGgufAttentionBias(const GgufFile& gguf) {
  return gguf.tensors().count("blk.0.attn_q.bias") != 0;
}

bool HasGgufMlpBias(const GgufFile& gguf) {
  return gguf.tensors().count("blk.0.ffn_gate.bias") != 0;
}

}  // namespace shira
