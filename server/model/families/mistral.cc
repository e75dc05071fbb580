#include "server/model/families/mistral.h"

#include <vector>

#include "server/model/families/shared_config.h"
#include "server/model/families/shared_tensors.h"

namespace shira {
namespace {

ModelConfig FromJson(const ConfigFields& fields) {
  ModelConfig config = SharedFromJson(fields, {.max_position = 131072});
  if (fields.Has("layer_types")) {
    fields.Unsupported("layer_types", "layers are all alike in what is known of Mistral");
  }
  if (!fields.IsNull("sliding_window")) SetWindow(fields, "sliding_window", config, 4096);
  return config;
}

std::vector<TensorSpec> Tensors(const ModelConfig& config) { return SharedTensors(config, {}); }

}  // namespace

const ModelFamily kMistralFamily = {.model_type = "mistral",
                                    .gguf_architecture = "",
                                    .from_json = &FromJson,
                                    .from_gguf = nullptr,
                                    .tensors = &Tensors};

}  // namespace shira
