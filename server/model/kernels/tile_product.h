// File: server/model/kernels/tile_product.h
//
// The product that processors with matrix tiles do for a linear layer in bfloat16: some weight rows,
// row-major where they are, times one or two tiles of packed rows of activations.
//
// The arithmetic is that of x86's tdpbf16ps. The columns are taken in steps of kTileColumns, with
// zeros behind the last one. A step's even columns are summed in order with fused multiply-add from
// zero on, its odd columns likewise, and sum += even + odd. Subnormal numbers, given or resulting,
// are zeros of their sign. So a sum depends on its weight row and its row of activations alone.

#ifndef SHIRA_SERVER_MODEL_KERNELS_TILE_PRODUCT_H_
#define SHIRA_SERVER_MODEL_KERNELS_TILE_PRODUCT_H_

#include <cstdint>

#include "base/float_types.h"

namespace shira {

inline constexpr int64_t kTileSide = 16;     // rows of weights, or of activations, in a tile
inline constexpr int64_t kTileColumns = 32;  // of both
inline constexpr int64_t kMaxTileOuts = 64;  // weight rows of a product

struct TileProduct {
  const BFloat16* weights = nullptr;  // [outs, in], row-major; nothing behind them is read
  int64_t outs = 0;                   // 1 to kMaxTileOuts
  int64_t in = 0;
  // [tiles, steps * kTileColumns / 2, rows, 2]: pairs of neighbouring columns of all rows side by
  // side, zeros behind the last column.
  const BFloat16* packed = nullptr;
  int64_t rows = 0;   // of a tile, 1 to kTileSide
  int64_t tiles = 1;  // or 2
  // Memory that will be read next: fetched into the cache while this is computed.
  const char* ahead = nullptr;
  int64_t ahead_bytes = 0;

  int64_t steps() const { return (in + kTileColumns - 1) / kTileColumns; }
};

// Where a product goes, 64-byte aligned: tile after tile, kMaxTileOuts * kTileSide floats each. There
// the sums of weight row o with the tile's rows begin at o * SumStride(rows). What is between and
// behind them is undefined.
inline constexpr int64_t kTileSums = 2 * kMaxTileOuts * kTileSide;
// The sums of a single row of activations lie side by side, as its outputs do.
constexpr int64_t SumStride(int64_t rows) { return rows == 1 ? 1 : kTileSide; }

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_KERNELS_TILE_PRODUCT_H_
