#include "server/model/layer_groups.h"

#include <algorithm>
#include <numeric>

namespace shira {

LayerGroups GroupLayers(const ModelConfig& config) {
  const auto window_of = [&](const LayerSpec& layer) {
    return layer.window < config.max_position ? layer.window : 0;
  };
  struct Kind {
    int64_t window;
    std::vector<int64_t> layers;
  };
  std::vector<Kind> kinds;
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const int64_t window = window_of(config.layers[layer]);
    auto kind = std::find_if(kinds.begin(), kinds.end(),
                             [&](const Kind& other) { return other.window == window; });
    if (kind == kinds.end()) kind = kinds.insert(kinds.end(), {.window = window, .layers = {}});
    kind->layers.push_back(layer);
  }

  LayerGroups groups;
  for (const Kind& kind : kinds) {
    groups.layers_per_group =
        std::gcd(groups.layers_per_group, static_cast<int64_t>(kind.layers.size()));
  }
  groups.places.resize(config.num_layers);
  for (const Kind& kind : kinds) {
    for (size_t i = 0; i < kind.layers.size(); ++i) {
      const int64_t index = static_cast<int64_t>(i) % groups.layers_per_group;
      if (index == 0) groups.windows.push_back(kind.window);
      groups.places[kind.layers[i]] = {.group = static_cast<int64_t>(groups.windows.size()) - 1,
                                       .index = index};
    }
  }
  return groups;
}

}  // namespace shira
