#include "server/model/families/qwen2.h"

#include <vector>

#include "server/model/families/qwen_windows.h"
#include "server/model/families/shared_config.h"
#include "server/model/families/shared_tensors.h"

namespace shira {
namespace {

ModelConfig FromJson(const ConfigFields& fields) {
  ModelConfig config = SharedFromJson(fields, {.max_position = 32768});
  ReadQwenWindows(fields, config);
  return config;
}

ModelConfig FromGguf(const GgufFile& gguf, ConfigProblems* problems) {
  return SharedFromGguf(gguf, GgufFieldsUnder(gguf, "qwen2.", problems), {}, problems);
}

std::vector<TensorSpec> Tensors(const ModelConfig& config) {
  return SharedTensors(config, {.query_key_value_bias = true});
}

}  // namespace

const ModelFamily kQwen2Family = {.model_type = "qwen2",
                                  .gguf_architecture = "qwen2",
                                  .from_json = &FromJson,
                                  .from_gguf = &FromGguf,
                                  .tensors = &Tensors};

}  // namespace shira
