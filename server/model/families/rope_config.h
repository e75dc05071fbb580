// File: server/model/families/rope_config.h
//
// Rotary positions as configuration files describe them, with the rules and defaults of transformers
// and of llama.cpp's converters.

#ifndef SHIRA_SERVER_MODEL_FAMILIES_ROPE_CONFIG_H_
#define SHIRA_SERVER_MODEL_FAMILIES_ROPE_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/gguf_file.h"
#include "server/model/config_fields.h"
#include "server/model/model_config.h"

namespace shira {

// What families differ in.
struct RopeRules {
  double theta = 10000.0;  // where the file has none
  // The length that the model was first trained for, where config.json has none at its top; 0: what
  // the scaling itself says, else max_position_embeddings.
  int64_t original_max_position = 0;
  bool partial = false;       // heads may be turned in part
  double default_part = 1.0;  // of a head that is turned, where config.json does not say it
  // The one scaling is longrope, which older files call su or yarn.
  bool longrope_alone = false;
  // Queries are scaled by position: llama_4_scaling_beta must be there.
  bool scales_queries = false;
};

// The rope of `rope`, which is the object rope_scaling or rope_parameters of `top`, or of `top` alone
// where it has neither. `max_position` is the model's.
Rope RopeFromJson(const std::optional<ConfigFields>& rope, const ConfigFields& top,
                  int64_t head_dim, int64_t max_position, const RopeRules& rules);

// The same from the metadata `fields` under the architecture's name, and from the tensors below. What
// families differ in are `theta`, `partial` and `scales_queries`.
Rope RopeFromGguf(const GgufFile& gguf, const ConfigFields& fields, int64_t head_dim,
                  int64_t max_position, const RopeRules& rules);

// YaRN's strength of attention at `factor` times the length, of which `mscale` tells how much counts:
// what cosines and sines are multiplied with where the file does not say it.
double YarnStrength(double factor, double mscale);

// Tensors of GGUF files that hold longrope's factors, one for each pair of a head: settings.
inline constexpr std::string_view kGgufLongFactors = "rope_factors_long.weight";
inline constexpr std::string_view kGgufShortFactors = "rope_factors_short.weight";

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_FAMILIES_ROPE_CONFIG_H_
