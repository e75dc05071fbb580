// File: server/model/families/mixture.h
//
// What families with mixtures of experts have in common: the settings of GGUF files, and the tensors of
// a layer's mixture, which files hold in three forms. The hub's folders have each expert's matrices by
// themselves. transformers 5 has them in memory, and may save them, as two tensors of all experts. GGUF
// files have three such tensors.

#ifndef SHIRA_SERVER_MODEL_FAMILIES_MIXTURE_H_
#define SHIRA_SERVER_MODEL_FAMILIES_MIXTURE_H_

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "server/model/config_fields.h"
#include "server/model/model_config.h"
#include "server/model/tensor_spec.h"

namespace shira {

// What the hub's files call the parts of a mixture.
struct MixtureNames {
  std::string_view router = "mlp.gate";
  std::string_view experts = "mlp.experts";
  std::string_view gate = "gate_proj";  // of an expert
  std::string_view up = "up_proj";
  std::string_view down = "down_proj";
};

// Adds the tensors of the mixture in layer `layer`: the router, then each expert's gate, up and down.
void AddMixtureTensors(const ModelConfig& config, int64_t layer, const MixtureNames& names,
                       std::vector<TensorSpec>& tensors);

// Of the settings that other families refuse, those that are known where there is a mixture.
inline constexpr std::array<std::string_view, 2> kGgufMixtureSettings = {"expert_count",
                                                                         "expert_weights_scale"};

// The mixture that a GGUF file describes, whose experts are as wide as it says, or else
// `intermediate_size`. Refuses what llama.cpp has for other families: another function of the scores,
// weights that are not divided by their sum, experts that all tokens use.
Mixture MixtureFromGguf(const ConfigFields& fields, int64_t intermediate_size);

// Gives every layer a mixture, config.mixture.
void SetMixtures(ModelConfig& config);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_FAMILIES_MIXTURE_H_
