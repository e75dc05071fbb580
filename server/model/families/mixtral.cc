#include "server/model/families/mixtral.h"

#include <vector>

#include "server/model/families/llama.h"
#include "server/model/families/mixture.h"
#include "server/model/families/shared_config.h"
#include "server/model/families/shared_tensors.h"

namespace shira {
namespace {

ModelConfig FromJson(const ConfigFields& fields) {
  ModelConfig config =
      SharedFromJson(fields, {.max_position = 131072, .norm_eps = 1e-5, .rope = {.theta = 1e6}});
  if (fields.Has("sliding_window")) SetWindow(fields, "sliding_window", config);
  config.mixture = {.experts = fields.Int("num_local_experts", 8),
                    .experts_per_token = fields.Int("num_experts_per_tok", 2),
                    .intermediate_size = config.intermediate_size};
  SetMixtures(config);
  return config;
}

std::vector<TensorSpec> Tensors(const ModelConfig& config) {
  return SharedTensors(config, {.mixture = {.router = "block_sparse_moe.gate",
                                            .experts = "block_sparse_moe.experts",
                                            .gate = "w1",
                                            .up = "w3",
                                            .down = "w2"},
                                .gguf_rotary_rows = GgufRows::kInterleavedHalves});
}

}  // namespace

const ModelFamily kMixtralFamily = {.model_type = "mixtral",
                                    .gguf_architecture = "",
                                    .from_json = &FromJson,
                                    .from_gguf = nullptr,
                                    .tensors = &Tensors,
                                    .gguf_settings_tensors = {kGgufRotaryFactors}};

}  // namespace shira
