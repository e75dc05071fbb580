#include "server/model/families/qwen_windows.h"

#include <string>
#include <vector>

namespace shira {
namespace {

// 0: none.
int64_t WindowOf(const ConfigFields& fields) {
  if (!fields.Bool("use_sliding_window", false) || fields.IsNull("sliding_window")) return 0;
  const int64_t window = fields.Int("sliding_window", 4096);
  if (window <= 0) fields.Wrong("sliding_window", "expected more than 0 positions, found ", window);
  return window;
}

}  // namespace

void ReadQwenWindows(const ConfigFields& fields, ModelConfig& config) {
  const int64_t window = WindowOf(fields);
  if (!fields.Has("layer_types")) {
    const int64_t first = fields.Int("max_window_layers", 28);
    for (size_t i = 0; i < config.layers.size(); ++i) {
      if (static_cast<int64_t>(i) >= first) config.layers[i].window = window;
    }
    return;
  }
  const std::vector<std::string> kinds = fields.Strings("layer_types");
  if (kinds.size() != config.layers.size()) {
    fields.Wrong("layer_types", "expected one for each of ", config.layers.size(),
                 " layers, found ", kinds.size());
    return;
  }
  for (size_t i = 0; i < kinds.size(); ++i) {
    if (kinds[i] == "sliding_attention") {
      config.layers[i].window = window;
      if (window == 0) fields.Wrong("layer_types", "sliding_attention without a sliding_window");
    } else if (kinds[i] != "full_attention") {
      fields.Unsupported("layer_types", "'", kinds[i],
                         "'; known are full_attention and sliding_attention");
    }
  }
}

}  // namespace shira
