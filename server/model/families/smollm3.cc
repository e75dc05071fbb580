#include "server/model/families/smollm3.h"

#include <string>
#include <vector>

#include "server/model/families/shared_config.h"
#include "server/model/families/shared_tensors.h"

namespace shira {
namespace {

constexpr int64_t kUsualInterval = 4;

// The last of each `interval` layers has no positions.
void SetInterval(int64_t interval, ModelConfig& config) {
  for (int64_t i = interval - 1; i < static_cast<int64_t>(config.layers.size()); i += interval) {
    config.layers[i].positions = Positions::kNone;
  }
}

void ReadPositions(const ConfigFields& fields, ModelConfig& config) {
  if (!fields.Has("no_rope_layers")) {
    const int64_t interval = fields.Int("no_rope_layer_interval", kUsualInterval);
    if (interval > 0) return SetInterval(interval, config);
    return fields.Wrong("no_rope_layer_interval", "expected more than 0 layers, found ", interval);
  }
  // 1 for a layer with rotary positions; there may be more numbers than layers.
  const std::vector<int64_t> rotary = fields.Ints("no_rope_layers");
  if (rotary.size() < config.layers.size()) {
    return fields.Wrong("no_rope_layers", "expected one for each of ", config.layers.size(),
                        " layers, found ", rotary.size());
  }
  for (size_t i = 0; i < config.layers.size(); ++i) {
    if (rotary[i] == 0) config.layers[i].positions = Positions::kNone;
  }
}

ModelConfig FromJson(const ConfigFields& fields) {
  ModelConfig config = SharedFromJson(
      fields, {.max_position = 32768, .tie_word_embeddings = true, .rope = {.theta = 2e6}});
  config.attention_bias = fields.Bool("attention_bias", false);
  config.mlp_bias = fields.Bool("mlp_bias", false);
  if (fields.Bool("use_sliding_window", false)) {
    fields.Unsupported("use_sliding_window", "windows are not known in this family");
  }
  ReadPositions(fields, config);
  return config;
}

ModelConfig FromGguf(const GgufFile& gguf, ConfigProblems* problems) {
  ModelConfig config =
      SharedFromGguf(gguf, GgufFieldsUnder(gguf, "smollm3.", problems), {}, problems);
  config.attention_bias = HasGgufAttentionBias(gguf);
  config.mlp_bias = HasGgufMlpBias(gguf);
  SetInterval(kUsualInterval, config);
  return config;
}

}  // namespace

const ModelFamily kSmolLm3Family = {.model_type = "smollm3",
                                    .gguf_architecture = "smollm3",
                                    .from_json = &FromJson,
                                    .from_gguf = &FromGguf,
                                    .tensors = &LlamaTensors};

}  // namespace shira
