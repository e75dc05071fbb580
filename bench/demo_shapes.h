// File: bench/demo_shapes.h
//
// The matrices of SmolLM2-135M that the demo's adapters touch.

#ifndef SHIRA_BENCH_DEMO_SHAPES_H_
#define SHIRA_BENCH_DEMO_SHAPES_H_

#include <cstdint>
#include <string>
#include <vector>

namespace shira::bench {

struct LayerShape {
  std::string path;  // of the module; its parameter is path + ".weight"
  int64_t rows;
  int64_t cols;

  std::string parameter() const { return path + ".weight"; }
};

// The seven linear layers of each of the 30 blocks.
std::vector<LayerShape> DemoShapes();

}  // namespace shira::bench

#endif  // SHIRA_BENCH_DEMO_SHAPES_H_
