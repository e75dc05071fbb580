// File: server/model/kernels/emulated_tiles.h
//
// AMX's tile products in portable C++, bit for bit: so that what depends on their arithmetic is
// tested on every machine. Slow.

#ifndef SHIRA_SERVER_MODEL_KERNELS_EMULATED_TILES_H_
#define SHIRA_SERVER_MODEL_KERNELS_EMULATED_TILES_H_

#include "server/model/kernels/tile_product.h"

namespace shira {

// As AmxTiles. NaNs may differ in their payload.
class EmulatedTiles {
 public:
  void Multiply(const TileProduct& product, float* sums);
};

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_KERNELS_EMULATED_TILES_H_
