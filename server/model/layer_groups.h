// File: server/model/layer_groups.h
//
// Which layers' keys and values share pages of KV memory: those that keep the same positions.

#ifndef SHIRA_SERVER_MODEL_LAYER_GROUPS_H_
#define SHIRA_SERVER_MODEL_LAYER_GROUPS_H_

#include <cstdint>
#include <vector>

#include "server/model/model_config.h"

namespace shira {

// All groups have equally many layers, so that all pages are equal and any group can take any of
// them: as many as divide the number of layers of each window.
struct LayerGroups {
  struct Place {
    int64_t group = 0;
    int64_t index = 0;  // among the group's layers
  };

  int64_t layers_per_group = 0;
  // By group: positions that its layers see; 0: all that the model can have, be it that there is no
  // window or that it is longer.
  std::vector<int64_t> windows;
  std::vector<Place> places;  // by layer
};

// REQUIRES: the configuration is valid.
LayerGroups GroupLayers(const ModelConfig& config);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_LAYER_GROUPS_H_
