// File: server/model/kernels/amx_tiles.h
//
// Tile products with the AMX instructions of x86: the processor's tile registers as they are
// configured for one thread. On other processors this compiles and is never usable.

#ifndef SHIRA_SERVER_MODEL_KERNELS_AMX_TILES_H_
#define SHIRA_SERVER_MODEL_KERNELS_AMX_TILES_H_

#include <cstdint>

#include "server/model/kernels/tile_product.h"

namespace shira {

// Owns the tile registers of the thread that it is used on, one object at a time; releases them at
// its end, so that a thread without tiles is switched as cheaply as ever.
class AmxTiles {
 public:
  // Whether the processor has AMX for bfloat16, the operating system saves its registers, and this
  // process is permitted to use them, which the first call asks for. Every thread may then.
  static bool Usable();

  AmxTiles() = default;
  ~AmxTiles();
  AmxTiles(const AmxTiles&) = delete;
  AmxTiles& operator=(const AmxTiles&) = delete;

  // sums: kTileSums floats. REQUIRES: Usable().
  void Multiply(const TileProduct& product, float* sums);

 private:
  int64_t configured_rows_ = 0;  // of a tile of activations; 0: the registers are not in use
};

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_KERNELS_AMX_TILES_H_
