#include "server/model/families/granite.h"

#include "server/model/families/shared_config.h"
#include "server/model/families/shared_tensors.h"

namespace shira {
namespace {

ModelConfig FromJson(const ConfigFields& fields) {
  ModelConfig config = SharedFromJson(fields, {.kv_heads_as_heads = true});
  config.attention_bias = fields.Bool("attention_bias", false);
  config.mlp_bias = fields.Bool("mlp_bias", false);
  config.embedding_scale.factor = fields.Float("embedding_multiplier", 1.0);
  config.attention_scale = fields.Float("attention_multiplier", 1.0);
  config.residual_scale = fields.Float("residual_multiplier", 1.0);
  config.logit_divisor = fields.Float("logits_scaling", 1.0);
  return config;
}

ModelConfig FromGguf(const GgufFile& gguf, ConfigProblems* problems) {
  const ConfigFields fields = GgufFieldsUnder(gguf, "granite.", problems);
  ModelConfig config = SharedFromGguf(
      gguf, fields,
      {.known_settings = {"attention.scale", "embedding_scale", "residual_scale", "logit_scale"}},
      problems);
  config.attention_bias = HasGgufAttentionBias(gguf);
  config.mlp_bias = HasGgufMlpBias(gguf);
  config.embedding_scale.factor = fields.Float("embedding_scale", 1.0);
  config.attention_scale = fields.Float("attention.scale", 0.0);
  config.residual_scale = fields.Float("residual_scale", 1.0);
  config.logit_divisor = fields.Float("logit_scale", 1.0);
  return config;
}

}  // namespace

const ModelFamily kGraniteFamily = {.model_type = "granite",
                                    .gguf_architecture = "granite",
                                    .from_json = &FromJson,
                                    .from_gguf = &FromGguf,
                                    .tensors = &LlamaTensors};

}  // namespace shira
