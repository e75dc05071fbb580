#include "server/model/families/shared_tensors.h"

#include <cstdint>
#include <string>

#include "base/strings.h"

namespace shira {

TensorSpec NamedTensor(std::string_view layers, std::string_view name, std::string_view gguf_name,
                       TensorPlace place, std::vector<int64_t> shape, GgufRows rows) {
  const bool whole = place.layer == TensorPlace::kWholeModel;
  const std::string_view kind = place.bias ? ".bias" : ".weight";
  const std::string at = whole ? "" : StrCat(layers, place.layer, ".");
  const std::string gguf_at = whole ? "" : StrCat("blk.", place.layer, ".");
  return {.name = StrCat(at, name, kind),
          .gguf_name = StrCat(gguf_at, gguf_name, kind),
          .shape = std::move(shape),
          .place = place,
          .gguf_rows = rows};
}

std::vector<TensorSpec> SharedTensors(const ModelConfig& config,
                                      const SharedTensorOptions& options) {
  std::vector<TensorSpec> tensors;
  // Adds one of the model, or one of a layer.
  const auto add = [&](std::string_view name, std::string_view gguf_name, TensorPlace place,
                       std::vector<int64_t> shape, GgufRows rows = GgufRows::kSame) {
    tensors.push_back(NamedTensor("model.layers.", name, gguf_name, place, std::move(shape), rows));
  };
  const auto norm = [&](std::string_view name, std::string_view gguf_name, TensorPlace place,
                        int64_t size, bool bias) {
    add(name, gguf_name, place, {size});
    tensors.back().gguf_offset = options.gguf_norm_offset;
    place.bias = true;
    if (bias) add(name, gguf_name, place, {size});
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
    const auto layer_norm = [&](std::string_view name, std::string_view gguf_name,
                                TensorRole role) {
      norm(name, gguf_name, at(role), hidden, options.norm_bias);
    };
    if (options.norms != SharedNorms::kAfter) {
      layer_norm("input_layernorm", "attn_norm", TensorRole::kAttentionNorm);
    }
    const TensorPlace qkv = at(TensorRole::kQueryKeyValue);
    const bool bias = options.query_key_value_bias;
    const GgufRows rotary = options.gguf_rotary_rows;
    if (options.fused_query_key_value) {
      add("self_attn.qkv_proj", "attn_qkv", qkv, {queries + 2 * keys, hidden});
    } else {
      project("self_attn.q_proj", "attn_q", qkv, queries, hidden, bias, rotary);
      project("self_attn.k_proj", "attn_k", qkv, keys, hidden, bias, rotary);
      project("self_attn.v_proj", "attn_v", qkv, keys, hidden, bias);
    }
    if (options.query_key_norms && config.head_norms == HeadNorms::kOwn) {
      const auto head_norms = [&](std::string_view of, std::string_view gguf_name, TensorRole role,
                                  int64_t heads) {
        for (int64_t head = 0; head < heads; ++head) {
          norm(StrCat("self_attn.", of, "_layernorm.norms.", head), gguf_name, at(role),
               config.head_dim, /*bias=*/false);
          tensors.back().gguf_part =
              StoredPart{.shape = {heads, config.head_dim}, .first_row = head};
        }
      };
      head_norms("q", "attn_q_norm", TensorRole::kQueryNorm, config.num_heads);
      head_norms("k", "attn_k_norm", TensorRole::kKeyNorm, config.num_kv_heads);
    } else if (options.query_key_norms) {
      const bool whole = config.head_norms == HeadNorms::kWhole;
      norm("self_attn.q_norm", "attn_q_norm", at(TensorRole::kQueryNorm),
           whole ? queries : config.head_dim, /*bias=*/false);
      norm("self_attn.k_norm", "attn_k_norm", at(TensorRole::kKeyNorm),
           whole ? keys : config.head_dim, /*bias=*/false);
    }
    if (options.attention_sinks) {
      add("self_attn.sinks", "attn_sinks", at(TensorRole::kAttentionSinks), {config.num_heads});
      // It is no module's weight.
      tensors.back().name = StrCat("model.layers.", layer, ".self_attn.sinks");
    }
    project("self_attn.o_proj", "attn_output", at(TensorRole::kAttentionOutput), hidden, queries,
            options.attention_output_bias);
    if (options.norms == SharedNorms::kBefore) {
      layer_norm("post_attention_layernorm", options.gguf_mlp_norm, TensorRole::kMlpNorm);
    } else if (options.norms != SharedNorms::kBeforeBoth) {
      layer_norm("post_attention_layernorm", "post_attention_norm", TensorRole::kAttentionPostNorm);
    }
    if (options.norms == SharedNorms::kAround) {
      layer_norm("pre_feedforward_layernorm", "ffn_norm", TensorRole::kMlpNorm);
    }
    const TensorPlace gate_up = at(TensorRole::kGateUp);
    if (config.mixture.experts > 0 && config.layers[layer].mlp == MlpKind::kMixture) {
      if (options.add_mixture != nullptr) {
        options.add_mixture(config, layer, tensors);
      } else {
        AddMixtureTensors(config, layer, options.mixture, tensors);
      }
    } else {
      if (!options.fused_gate_up.empty()) {
        add(options.fused_gate_up, options.gguf_halves_gate_up ? "ffn_gate" : "ffn_up", gate_up,
            {2 * wide, hidden});
        if (options.gguf_halves_gate_up) {
          tensors.back().gguf_second_half = StrCat("blk.", layer, ".ffn_up.weight");
        }
      } else {
        if (config.gated_mlp) {
          project("mlp.gate_proj", "ffn_gate", gate_up, wide, hidden, options.mlp_bias);
        }
        project(options.up, "ffn_up", gate_up, wide, hidden, options.mlp_bias);
      }
      project(options.down, "ffn_down", at(TensorRole::kDown), hidden, wide, options.mlp_bias);
    }
    if (options.norms == SharedNorms::kAround || options.norms == SharedNorms::kAfter) {
      layer_norm("post_feedforward_layernorm", "post_ffw_norm", TensorRole::kMlpPostNorm);
    }
  }
  norm("model.norm", "output_norm", {.role = TensorRole::kFinalNorm}, hidden, options.norm_bias);
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

bool HasGgufMlpBias(const GgufFile& gguf) { return gguf.tensors().count("blk.0.ffn_up.bias") != 0; }

}  // namespace shira
