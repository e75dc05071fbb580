#include "server/model/families/qwen3_moe.h"

#include <algorithm>
#include <string>
#include <vector>

#include "server/model/families/mixture.h"
#include "server/model/families/qwen3.h"
#include "server/model/families/shared_config.h"
#include "server/model/families/shared_tensors.h"

namespace shira {
namespace {

// Every decoder_sparse_step-th layer has a mixture, but for those in mlp_only_layers.
void ReadMixtures(const ConfigFields& fields, ModelConfig& config) {
  const int64_t step = fields.Int("decoder_sparse_step", 1);
  if (step <= 0) {
    return fields.Wrong("decoder_sparse_step", "expected more than 0 layers, found ", step);
  }
  const std::vector<int64_t> dense = fields.Ints("mlp_only_layers");
  for (size_t i = 0; i < config.layers.size(); ++i) {
    const auto layer = static_cast<int64_t>(i);
    if ((layer + 1) % step != 0) continue;
    if (std::count(dense.begin(), dense.end(), layer) > 0) continue;
    config.layers[i].mlp = MlpKind::kMixture;
  }
}

ModelConfig FromJson(const ConfigFields& fields) {
  ModelConfig config = SharedFromJson(fields, {.max_position = 32768});
  config.attention_bias = fields.Bool("attention_bias", false);
  if (fields.Bool("use_sliding_window", false) && !fields.IsNull("sliding_window")) {
    SetWindow(fields, "sliding_window", config, 4096);
  }
  // transformers 5 writes the second name.
  const char* experts = fields.Has("num_experts") ? "num_experts" : "num_local_experts";
  config.mixture = {.experts = fields.Int(experts, 128),
                    .experts_per_token = fields.Int("num_experts_per_tok", 8),
                    .intermediate_size = fields.Int("moe_intermediate_size", 768),
                    .normalised = fields.Bool("norm_topk_prob", false),
                    .rounds_weights = true};
  ReadMixtures(fields, config);
  return config;
}

ModelConfig FromGguf(const GgufFile& gguf, ConfigProblems* problems) {
  const ConfigFields fields = GgufFieldsUnder(gguf, "qwen3moe.", problems);
  ModelConfig config = SharedFromGguf(
      gguf, fields, {.known_settings = {kGgufMixtureSettings.begin(), kGgufMixtureSettings.end()}},
      problems);
  config.attention_bias = HasGgufAttentionBias(gguf);
  config.mixture = MixtureFromGguf(fields, config.intermediate_size);
  config.mixture.rounds_weights = true;
  SetMixtures(config);
  return config;
}

}  // namespace

const ModelFamily kQwen3MoeFamily = {.model_type = "qwen3_moe",
                                     .gguf_architecture = "qwen3moe",
                                     .from_json = &FromJson,
                                     .from_gguf = &FromGguf,
                                     .tensors = &Qwen3Tensors};

}  // namespace shira
