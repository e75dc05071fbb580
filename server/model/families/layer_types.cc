#include "server/model/families/layer_types.h"

#include <optional>
#include <string>
#include <vector>

namespace shira {

bool ReadLayerTypes(const ConfigFields& fields, int64_t window, ModelConfig& config) {
  if (!fields.Has("layer_types")) return false;
  const std::vector<std::string> types = fields.Strings("layer_types");
  if (types.size() != config.layers.size()) {
    fields.Wrong("layer_types", "expected one for each of ", config.layers.size(),
                 " layers, found ", types.size());
    return true;
  }
  for (size_t i = 0; i < types.size(); ++i) {
    if (types[i] == "sliding_attention") {
      config.layers[i].window = window;
      if (window == 0) fields.Wrong("layer_types", "sliding_attention without a sliding_window");
    } else if (types[i] != "full_attention") {
      fields.Unsupported("layer_types", "'", types[i],
                         "'; known are full_attention and sliding_attention");
    }
  }
  return true;
}

void SetWindowBetween(int64_t window, int64_t interval, ModelConfig& config) {
  for (size_t i = 0; i < config.layers.size(); ++i) {
    if (static_cast<int64_t>(i + 1) % interval != 0) config.layers[i].window = window;
  }
}

void ReadWindowsBetween(const ConfigFields& fields, int64_t absent, int64_t interval,
                        ModelConfig& config) {
  const int64_t window = fields.IsNull("sliding_window") ? 0 : fields.Int("sliding_window", absent);
  if (window < 0) fields.Wrong("sliding_window", "expected more than 0 positions, found ", window);
  if (!ReadLayerTypes(fields, window, config)) SetWindowBetween(window, interval, config);
}

void ReadRopesByLayerType(const ConfigFields& fields, const RopeRules& full, double sliding_theta,
                          ModelConfig& config) {
  const std::optional<ConfigFields> by_type = fields.Object("rope_parameters");
  std::optional<ConfigFields> of_full = fields.Object("rope_scaling");
  std::optional<ConfigFields> of_sliding;
  if (by_type) {
    if (!of_full) of_full = by_type->Object("full_attention");
    of_sliding = by_type->Object("sliding_attention");
    for (const char* key : {"rope_theta", "rope_type"}) {
      if (by_type->Has(key)) {
        by_type->Unsupported(key,
                             "expected an object for each of full_attention and "
                             "sliding_attention");
      }
    }
  }
  Rope sliding = {.theta = sliding_theta};
  // What is at the top of an older file is not theirs.
  if (of_sliding) {
    sliding = RopeFromJson(of_sliding, *by_type, config.head_dim, config.max_position,
                           {.theta = sliding_theta});
  }
  SetRopesByLayerType(RopeFromJson(of_full, fields, config.head_dim, config.max_position, full),
                      sliding, config);
}

void SetRopesByLayerType(const Rope& full, const Rope& sliding, ModelConfig& config) {
  config.ropes = {full, sliding};
  for (LayerSpec& layer : config.layers) layer.rope = layer.window == 0 ? 0 : 1;
}

}  // namespace shira
