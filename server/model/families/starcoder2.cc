#include "server/model/families/starcoder2.h"

#include <vector>

#include "server/model/families/shared_config.h"
#include "server/model/families/shared_tensors.h"

namespace shira {
namespace {

void SetArithmetic(ModelConfig& config) {
  config.norm = NormKind::kLayer;
  config.gated_mlp = false;
}

ModelConfig FromJson(const ConfigFields& fields) {
  ModelConfig config = SharedFromJson(fields, {.max_position = 4096,
                                               .norm_eps = 1e-5,
                                               .norm_eps_key = "norm_epsilon",
                                               .tie_word_embeddings = true,
                                               .activation = Activation::kGeluTanh});
  SetArithmetic(config);
  config.attention_bias = fields.Bool("use_bias", true);
  config.mlp_bias = config.attention_bias;
  if (fields.Has("sliding_window")) SetWindow(fields, "sliding_window", config);
  return config;
}

ModelConfig FromGguf(const GgufFile& gguf, ConfigProblems* problems) {
  ModelConfig config = LayerNormFromGguf(gguf, "starcoder2.", {}, problems);
  SetArithmetic(config);
  config.activation = Activation::kGeluTanh;
  config.attention_bias = HasGgufAttentionBias(gguf);
  config.mlp_bias = HasGgufMlpBias(gguf);
  return config;
}

std::vector<TensorSpec> Tensors(const ModelConfig& config) {
  return SharedTensors(config, {.norm_bias = true,
                                .query_key_value_bias = config.attention_bias,
                                .attention_output_bias = config.attention_bias,
                                .mlp_bias = config.mlp_bias,
                                .up = "mlp.c_fc",
                                .down = "mlp.c_proj"});
}

}  // namespace

const ModelFamily kStarcoder2Family = {.model_type = "starcoder2",
                                       .gguf_architecture = "starcoder2",
                                       .from_json = &FromJson,
                                       .from_gguf = &FromGguf,
                                       .tensors = &Tensors};

}  // namespace shira
