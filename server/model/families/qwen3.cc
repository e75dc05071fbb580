#include "server/model/families/qwen3.h"

#include <string>
#include <vector>

#include "server/model/families/qwen_windows.h"
#include "server/model/families/shared_config.h"
#include "server/model/families/shared_tensors.h"

namespace shira {
namespace {

ModelConfig FromJson(const ConfigFields& fields) {
  ModelConfig config = SharedFromJson(fields, {.max_position = 32768, .head_dim = 128});
  config.attention_bias = fields.Bool("attention_bias", false);
  ReadQwenWindows(fields, config);
  return config;
}

ModelConfig FromGguf(const GgufFile& gguf, ConfigProblems* problems) {
  ModelConfig config =
      SharedFromGguf(gguf, GgufFieldsUnder(gguf, "qwen3.", problems), {}, problems);
  config.attention_bias = HasGgufAttentionBias(gguf);
  return config;
}

}  // namespace

std::vector<TensorSpec> Qwen3Tensors(const ModelConfig& config) {
  return SharedTensors(config, {.query_key_value_bias = config.attention_bias,
                                .attention_output_bias = config.attention_bias,
                                .query_key_norms = true});
}

const ModelFamily kQwen3Family = {.model_type = "qwen3",
                                  .gguf_architecture = "qwen3",
                                  .from_json = &FromJson,
                                  .from_gguf = &FromGguf,
                                  .tensors = &Qwen3Tensors};

}  // namespace shira
