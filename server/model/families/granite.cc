#include "server/model/families/granite.h"

#include <string>
#include <vector>

#include "server/model/families/shared_config.h"
#include "server/model/families/shared_tensors.h"

namespace shira {
namespace {

void ReadMultipliers(const ConfigFields& fields, ModelConfig& config) {
  config.embedding_scale.factor = fields.Float("embedding_multiplier", 1.0);
  config.attention_scale = fields.Float("attention_multiplier", 1.0);
  config.residual_scale = fields.Float("residual_multiplier", 1.0);
  config.logit_divisor = fields.Float("logits_scaling", 1.0);
}

void RemovePositions(ModelConfig& config) {
  for (LayerSpec& layer : config.layers) layer.positions = Positions::kNone;
}

ModelConfig FromJson(const ConfigFields& fields) {
  ModelConfig config = SharedFromJson(fields, {.kv_heads_as_heads = true});
  config.attention_bias = fields.Bool("attention_bias", false);
  config.mlp_bias = fields.Bool("mlp_bias", false);
  ReadMultipliers(fields, config);
  return config;
}

// Without a list, transformers takes all layers for state-space ones.
void CheckLayerTypes(const ConfigFields& fields, const ModelConfig& config) {
  constexpr const char* kKey = "layer_types";
  const std::vector<std::string> types = fields.Strings(kKey);
  for (const std::string& type : types) {
    if (type == "attention" || type == "full_attention") continue;
    return fields.Unsupported(kKey, "'", type, "'; only 'attention' is known");
  }
  if (types.empty()) {
    fields.Unsupported(kKey, "none, which means state-space layers; only 'attention' is known");
  } else if (types.size() != config.layers.size()) {
    fields.Wrong(kKey, "expected one for each of ", config.layers.size(), " layers, found ",
                 types.size());
  }
}

void ReadPositions(const ConfigFields& fields, ModelConfig& config) {
  constexpr const char* kKey = "position_embedding_type";
  const std::string type = fields.String(kKey, "nope");
  if (type == "nope") {
    RemovePositions(config);
  } else if (type != "rope") {
    fields.Unsupported(kKey, "'", type, "'; known are rope, nope");
  }
}

ModelConfig HybridFromJson(const ConfigFields& fields) {
  ModelConfig config = SharedFromJson(
      fields, {.intermediate_size_key = "shared_intermediate_size", .kv_heads_as_heads = true});
  config.attention_bias = fields.Bool("attention_bias", false);
  config.fused_gate_up = true;
  ReadMultipliers(fields, config);
  CheckLayerTypes(fields, config);
  ReadPositions(fields, config);
  if (const int64_t experts = fields.Int("num_local_experts", 8); experts != 0) {
    fields.Unsupported("num_local_experts", experts, "; mixtures of experts are not known");
  }
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
  // Written of Granite 4 alone, whose dense MLP is what is shared beside experts in others.
  config.fused_gate_up = fields.Int("expert_shared_feed_forward_length", 0) != 0;
  // What this setting means in this architecture.
  if (!fields.Bool("rope.scaling.finetuned", true)) RemovePositions(config);
  return config;
}

std::vector<TensorSpec> Tensors(const ModelConfig& config) {
  if (!config.fused_gate_up) return LlamaTensors(config);
  return SharedTensors(config, {.query_key_value_bias = config.attention_bias,
                                .attention_output_bias = config.attention_bias,
                                .fused_gate_up = "shared_mlp.input_linear",
                                .gguf_halves_gate_up = true,
                                .down = "shared_mlp.output_linear",
                                .gguf_rotary_rows = GgufRows::kInterleavedHalves});
}

}  // namespace

const ModelFamily kGraniteFamily = {.model_type = "granite",
                                    .gguf_architecture = "granite",
                                    .from_json = &FromJson,
                                    .from_gguf = &FromGguf,
                                    .tensors = &Tensors};

const ModelFamily kGraniteHybridFamily = {.model_type = "granitemoehybrid",
                                          .gguf_architecture = "",
                                          .from_json = &HybridFromJson,
                                          .from_gguf = nullptr,
                                          .tensors = &Tensors};

}  // namespace shira
