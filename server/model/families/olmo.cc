#include "server/model/families/olmo.h"

#include <vector>

#include "server/model/families/layer_types.h"
#include "server/model/families/shared_config.h"
#include "server/model/families/shared_tensors.h"

namespace shira {
namespace {

// Each layer of OLMo 3 that sees everything, counted from the first.
constexpr int64_t kFullInterval = 4;
constexpr double kTheta3 = 5e5;

void SetArithmetic(ModelConfig& config) {
  config.norm = NormKind::kRmsFloat;
  config.head_norms = HeadNorms::kWhole;
}

ModelConfig OlmoFromJson(const ConfigFields& fields, JsonDefaults defaults) {
  defaults.norm_eps = 1e-5;
  defaults.kv_heads_as_heads = true;
  ModelConfig config = SharedFromJson(fields, defaults);
  SetArithmetic(config);
  config.attention_bias = fields.Bool("attention_bias", false);
  return config;
}

ModelConfig Olmo2FromJson(const ConfigFields& fields) { return OlmoFromJson(fields, {}); }

ModelConfig Olmo3FromJson(const ConfigFields& fields) {
  ModelConfig config = OlmoFromJson(fields, {.ropes_by_layer_type = true});
  ReadWindowsBetween(fields, /*absent=*/4096, kFullInterval, config);
  ReadRopesByLayerType(fields, {.theta = kTheta3}, fields.Float("rope_theta", kTheta3), config);
  return config;
}

ModelConfig FromGguf(const GgufFile& gguf, ConfigProblems* problems) {
  const ConfigFields fields = GgufFieldsUnder(gguf, "olmo2.", problems);
  ModelConfig config =
      SharedFromGguf(gguf, fields, {.known_settings = {"attention.sliding_window"}}, problems);
  SetArithmetic(config);
  config.attention_bias = HasGgufAttentionBias(gguf);
  SetWindowBetween(fields.Int("attention.sliding_window", 0), kFullInterval, config);
  SetRopesByLayerType(config.ropes.front(), {.theta = config.ropes.front().theta}, config);
  return config;
}

std::vector<TensorSpec> Tensors(const ModelConfig& config) {
  return SharedTensors(config, {.norms = SharedNorms::kAfter,
                                .query_key_value_bias = config.attention_bias,
                                .attention_output_bias = config.attention_bias,
                                .query_key_norms = true});
}

}  // namespace

const ModelFamily kOlmo2Family = {.model_type = "olmo2",
                                  .gguf_architecture = "olmo2",
                                  .from_json = &Olmo2FromJson,
                                  .from_gguf = &FromGguf,
                                  .tensors = &Tensors};

const ModelFamily kOlmo3Family = {.model_type = "olmo3",
                                  .gguf_architecture = "",
                                  .from_json = &Olmo3FromJson,
                                  .from_gguf = nullptr,
                                  .tensors = &Tensors};

}  // namespace shira
