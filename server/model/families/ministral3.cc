#include "server/model/families/ministral3.h"

#include <vector>

#include "server/model/families/shared_config.h"
#include "server/model/families/shared_tensors.h"

namespace shira {
namespace {

// What transformers takes where a file has none.
Rope DefaultRope() {
  return {
      .theta = 1e6,
      .scaling = {.kind = RopeScaling::Kind::kYarn, .factor = 16.0, .original_max_position = 16384},
      .query_scale_beta = 0.1};
}

ModelConfig FromJson(const ConfigFields& fields) {
  ModelConfig config = SharedFromJson(fields, {.max_position = 262144,
                                               .norm_eps = 1e-5,
                                               .head_dim = fields.IsNull("head_dim") ? 0 : 128,
                                               .rope = {.scales_queries = true}});
  if (!fields.Has("rope_scaling") && !fields.Has("rope_parameters")) {
    config.ropes = {DefaultRope()};
  }
  if (fields.Has("sliding_window")) SetWindow(fields, "sliding_window", config);
  return config;
}

ModelConfig FromGguf(const GgufFile& gguf, ConfigProblems* problems) {
  return SharedFromGguf(gguf, GgufFieldsUnder(gguf, "mistral3.", problems),
                        {.rope = {.scales_queries = true}}, problems);
}

std::vector<TensorSpec> Tensors(const ModelConfig& config) {
  return SharedTensors(config, {.gguf_rotary_rows = GgufRows::kInterleavedHalves});
}

}  // namespace

const ModelFamily kMinistral3Family = {.model_type = "ministral3",
                                       .gguf_architecture = "mistral3",
                                       .from_json = &FromJson,
                                       .from_gguf = &FromGguf,
                                       .tensors = &Tensors};

}  // namespace shira
