#include "server/model/families/qwen_windows.h"

#include "server/model/families/layer_types.h"

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
  if (ReadLayerTypes(fields, window, config)) return;
  const int64_t first = fields.Int("max_window_layers", 28);
  for (size_t i = 0; i < config.layers.size(); ++i) {
    if (static_cast<int64_t>(i) >= first) config.layers[i].window = window;
  }
}

}  // namespace shira
