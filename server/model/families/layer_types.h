// File: server/model/families/layer_types.h
//
// Layers of two types, as configurations name them: some see the whole context ("full_attention"),
// the others a window of it ("sliding_attention"), perhaps with rotary positions of their own.

#ifndef SHIRA_SERVER_MODEL_FAMILIES_LAYER_TYPES_H_
#define SHIRA_SERVER_MODEL_FAMILIES_LAYER_TYPES_H_

#include <cstdint>

#include "server/model/config_fields.h"
#include "server/model/families/rope_config.h"
#include "server/model/model_config.h"

namespace shira {

// Gives `window` to the layers that "layer_types" calls sliding_attention. False where there is no
// such list.
bool ReadLayerTypes(const ConfigFields& fields, int64_t window, ModelConfig& config);

// Gives `window` to all layers but each `interval`-th.
void SetWindowBetween(int64_t window, int64_t interval, ModelConfig& config);

// The windows of a file that has "sliding_window", `absent` where it does not say how long they are and
// none where that is null, and may have "layer_types": without it all layers have one but each
// `interval`-th.
void ReadWindowsBetween(const ConfigFields& fields, int64_t absent, int64_t interval,
                        ModelConfig& config);

// Sets config.ropes to that of layers without a window, with the rules of `full`, and that of layers
// with one, and tells each layer which is its own. Newer files have an object for each of the two in
// rope_parameters; in older ones rope_theta and rope_scaling are of the first, and the second has no
// scaling and the theta of `sliding_theta`.
void ReadRopesByLayerType(const ConfigFields& fields, const RopeRules& full, double sliding_theta,
                          ModelConfig& config);

// The same with two ropes that are known.
void SetRopesByLayerType(const Rope& full, const Rope& sliding, ModelConfig& config);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_FAMILIES_LAYER_TYPES_H_
