#include "bench/demo_shapes.h"

#include "absl/strings/str_format.h"

namespace shira::bench {

std::vector<LayerShape> DemoShapes() {
  std::vector<LayerShape> shapes;
  for (int i = 0; i < 30; ++i) {
    const std::string prefix = absl::StrFormat("model.layers.%d.", i);
    shapes.push_back({prefix + "self_attn.q_proj", 576, 576});
    shapes.push_back({prefix + "self_attn.k_proj", 192, 576});
    shapes.push_back({prefix + "self_attn.v_proj", 192, 576});
    shapes.push_back({prefix + "self_attn.o_proj", 576, 576});
    shapes.push_back({prefix + "mlp.gate_proj", 1536, 576});
    shapes.push_back({prefix + "mlp.up_proj", 1536, 576});
    shapes.push_back({prefix + "mlp.down_proj", 576, 1536});
  }
  return shapes;
}

}  // namespace shira::bench
