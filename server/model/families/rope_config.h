// File: server/model/families/rope_config.h
//
// Rotary positions as configuration files describe them.

#ifndef SHIRA_SERVER_MODEL_FAMILIES_ROPE_CONFIG_H_
#define SHIRA_SERVER_MODEL_FAMILIES_ROPE_CONFIG_H_

#include <cstdint>
#include <optional>

#include "base/gguf_file.h"
#include "server/model/config_fields.h"
#include "server/model/model_config.h"

namespace shira {

// What families differ in.
struct RopeRules {
  double theta = 10000.0;     // where the file has none
  bool partial = false;       // heads may be turned in part
  double default_part = 1.0;  // of a head that is turned, where config.json does not say it
};

// The rope of `rope`, which is the object rope_scaling or rope_parameters of `top`, or of `top` alone
// where it has neither. `max_position` is the model's.
Rope RopeFromJson(const std::optional<ConfigFields>& rope, const ConfigFields& top,
                  int64_t head_dim, int64_t max_position, const RopeRules& rules);

// The same from the metadata `fields` under the architecture's name.
Rope RopeFromGguf(const GgufFile& gguf, const ConfigFields& fields, int64_t head_dim,
                  int64_t max_position, const RopeRules& rules);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_FAMILIES_ROPE_CONFIG_H_
