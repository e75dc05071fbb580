#include "server/model/families/phi3.h"

#include <vector>

#include "server/model/families/shared_config.h"
#include "server/model/families/shared_tensors.h"

namespace shira {
namespace {

ModelConfig FromJson(const ConfigFields& fields) {
  ModelConfig config = SharedFromJson(
      fields, {.max_position = 4096,
               .norm_eps = 1e-5,
               .kv_heads_as_heads = true,
               .rope = {.original_max_position = 4096, .partial = true, .longrope_alone = true}});
  if (fields.Has("sliding_window")) SetWindow(fields, "sliding_window", config);
  return config;
}

ModelConfig FromGguf(const GgufFile& gguf, ConfigProblems* problems) {
  const ConfigFields fields = GgufFieldsUnder(gguf, "phi3.", problems);
  ModelConfig config = SharedFromGguf(
      gguf, fields, {.known_settings = {"attention.sliding_window"}, .rope = {.partial = true}},
      problems);
  // Files of models without a window say 0.
  if (fields.Int("attention.sliding_window", 0) != 0) {
    SetWindow(fields, "attention.sliding_window", config);
  }
  return config;
}

std::vector<TensorSpec> Tensors(const ModelConfig& config) {
  return SharedTensors(config,
                       {.fused_query_key_value = true, .fused_gate_up = "mlp.gate_up_proj"});
}

}  // namespace

const ModelFamily kPhi3Family = {.model_type = "phi3",
                                 .gguf_architecture = "phi3",
                                 .from_json = &FromJson,
                                 .from_gguf = &FromGguf,
                                 .tensors = &Tensors,
                                 .gguf_settings_tensors = {kGgufLongFactors, kGgufShortFactors}};

}  // namespace shira
