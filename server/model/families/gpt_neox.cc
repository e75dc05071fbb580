#include "server/model/families/gpt_neox.h"

#include <string>
#include <utility>
#include <vector>

#include "server/model/families/shared_config.h"
#include "server/model/families/shared_tensors.h"

namespace shira {
namespace {

void SetArithmetic(ModelConfig& config) {
  config.norm = NormKind::kLayer;
  config.gated_mlp = false;
  config.query_key_value_rows = QueryKeyValueRows::kByHead;
}

ModelConfig FromJson(const ConfigFields& fields) {
  // Older files call the rotary settings so.
  const RopeRules rope = {.theta = fields.Float("rotary_emb_base", 10000.0),
                          .partial = true,
                          .default_part = fields.Float("rotary_pct", 0.25)};
  ModelConfig config = SharedFromJson(fields, {.norm_eps = 1e-5,
                                               .norm_eps_key = "layer_norm_eps",
                                               .kv_heads_as_heads = true,
                                               .activation = Activation::kGelu,
                                               .rope = rope});
  SetArithmetic(config);
  config.attention_bias = fields.Bool("attention_bias", true);
  config.parallel_residual = fields.Bool("use_parallel_residual", true);
  return config;
}

ModelConfig FromGguf(const GgufFile& gguf, ConfigProblems* problems) {
  constexpr const char* kPrefix = "gptneox.";
  ModelConfig config = LayerNormFromGguf(gguf, kPrefix, {.partial = true}, problems);
  SetArithmetic(config);
  config.activation = Activation::kGelu;
  config.attention_bias = gguf.tensors().count("blk.0.attn_qkv.bias") != 0;
  config.parallel_residual =
      GgufFieldsUnder(gguf, kPrefix, problems).Bool("use_parallel_residual", true);
  return config;
}

std::vector<TensorSpec> Tensors(const ModelConfig& config) {
  std::vector<TensorSpec> tensors;
  const auto add = [&](std::string_view name, std::string_view gguf_name, TensorPlace place,
                       std::vector<int64_t> shape) {
    const GgufRows rows =
        place.role == TensorRole::kQueryKeyValue ? GgufRows::kStackedHeads : GgufRows::kSame;
    tensors.push_back(
        NamedTensor("gpt_neox.layers.", name, gguf_name, place, std::move(shape), rows));
  };
  // With its bias, of as many elements as the weight has rows.
  const auto add_both = [&](std::string_view name, std::string_view gguf_name, TensorPlace place,
                            std::vector<int64_t> shape, bool bias = true) {
    const int64_t size = shape[0];
    add(name, gguf_name, place, std::move(shape));
    place.bias = true;
    if (bias) add(name, gguf_name, place, {size});
  };

  const int64_t hidden = config.hidden_size;
  const int64_t wide = config.intermediate_size;
  const int64_t heads = config.num_heads * config.head_dim;
  add("gpt_neox.embed_in", "token_embd", {.role = TensorRole::kEmbedding},
      {config.vocab_size, hidden});
  if (config.tie_word_embeddings) tensors.back().second_name = "lm_head.weight";
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const auto at = [layer](TensorRole role) { return TensorPlace{.role = role, .layer = layer}; };
    add_both("input_layernorm", "attn_norm", at(TensorRole::kAttentionNorm), {hidden});
    add_both("post_attention_layernorm", "ffn_norm", at(TensorRole::kMlpNorm), {hidden});
    add_both("attention.query_key_value", "attn_qkv", at(TensorRole::kQueryKeyValue),
             {3 * heads, hidden}, config.attention_bias);
    add_both("attention.dense", "attn_output", at(TensorRole::kAttentionOutput), {hidden, heads},
             config.attention_bias);
    add_both("mlp.dense_h_to_4h", "ffn_up", at(TensorRole::kGateUp), {wide, hidden});
    add_both("mlp.dense_4h_to_h", "ffn_down", at(TensorRole::kDown), {hidden, wide});
  }
  add_both("gpt_neox.final_layer_norm", "output_norm", {.role = TensorRole::kFinalNorm}, {hidden});
  if (!config.tie_word_embeddings) {
    add("lm_head", "output", {.role = TensorRole::kOutput}, {config.vocab_size, hidden});
    tensors.back().second_name = "embed_out.weight";  // in older files
  }
  return tensors;
}

}  // namespace

const ModelFamily kGptNeoxFamily = {.model_type = "gpt_neox",
                                    .gguf_architecture = "gptneox",
                                    .from_json = &FromJson,
                                    .from_gguf = &FromGguf,
                                    .tensors = &Tensors};

}  // namespace shira
