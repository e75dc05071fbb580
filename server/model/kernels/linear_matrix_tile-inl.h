// File: server/model/kernels/linear_matrix_tile-inl.h
//
// Linear layers with matrix tiles: how activations are packed for them, and how sums, which come
// turned, are put into rows. Included once per target, after highway.h.

// The guard toggles: foreach_target.h includes the kernel's file, and with it this one, again.
#if defined(SHIRA_SERVER_MODEL_KERNELS_LINEAR_MATRIX_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SHIRA_SERVER_MODEL_KERNELS_LINEAR_MATRIX_TILE_INL_H_
#undef SHIRA_SERVER_MODEL_KERNELS_LINEAR_MATRIX_TILE_INL_H_
#else
#define SHIRA_SERVER_MODEL_KERNELS_LINEAR_MATRIX_TILE_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "base/float_types.h"
#include "server/model/kernels/linear_tile-inl.h"
#include "server/model/kernels/tile_product.h"
#include "server/model/kernels/vector_types-inl.h"

SHIRA_TILE_BEFORE_NAMESPACE();
namespace shira::HWY_NAMESPACE {

// What a thread needs to multiply with matrix tiles.
template <class Tiles>
struct MatrixUnit {
  Tiles tiles;
};

// A kind of products (linear_tile-inl.h) of whole tiles, as Tiles multiplies them: AmxTiles or
// EmulatedTiles. A tile of activations here is a pair of the processor's.
template <class Tiles>
struct MatrixProducts {
  using Weight = BFloat16;
  using Activation = BFloat16;
  using Unit = MatrixUnit<Tiles>;

  static HWY_INLINE int64_t Step() { return kTileColumns; }
};

template <class Products>
inline constexpr bool kMatrixTiles = false;
template <class Tiles>
inline constexpr bool kMatrixTiles<MatrixProducts<Tiles>> = true;
template <class Tiles>
inline constexpr int kMaxTileRows<MatrixProducts<Tiles>> = 2 * kTileSide;

// to[j][i] = from[i][j], both [kTileSide, kTileSide] of 32 bits and 64-byte aligned.
#if HWY_TARGET == HWY_SCALAR
HWY_INLINE void Turn(const float* HWY_RESTRICT from, float* HWY_RESTRICT to) {
  for (int64_t i = 0; i < kTileSide; ++i) {
    for (int64_t j = 0; j < kTileSide; ++j) to[j * kTileSide + i] = from[i * kTileSide + j];
  }
}
#else
// Four vectors whose 128-bit blocks are turned, each by itself: of blocks [4, 4] of the four.
HWY_INLINE void TurnBlocks(FloatVector (&v)[4]) {
  const FloatTag d;
  const hn::Repartition<double, FloatTag> d64;
  const auto ab_low = hn::BitCast(d64, hn::InterleaveLower(d, v[0], v[1]));
  const auto ab_high = hn::BitCast(d64, hn::InterleaveUpper(d, v[0], v[1]));
  const auto ce_low = hn::BitCast(d64, hn::InterleaveLower(d, v[2], v[3]));
  const auto ce_high = hn::BitCast(d64, hn::InterleaveUpper(d, v[2], v[3]));
  v[0] = hn::BitCast(d, hn::InterleaveLower(d64, ab_low, ce_low));
  v[1] = hn::BitCast(d, hn::InterleaveUpper(d64, ab_low, ce_low));
  v[2] = hn::BitCast(d, hn::InterleaveLower(d64, ab_high, ce_high));
  v[3] = hn::BitCast(d, hn::InterleaveUpper(d64, ab_high, ce_high));
}

HWY_INLINE void Turn(const float* HWY_RESTRICT from, float* HWY_RESTRICT to) {
  const FloatTag d;
  const int64_t lanes = static_cast<int64_t>(FloatLanes());
#if HWY_TARGET == HWY_AVX3
  FloatVector v[4][4];
  HWY_UNROLL(4)
  for (int64_t i = 0; i < 4; ++i) {
    HWY_UNROLL(4)
    for (int64_t k = 0; k < 4; ++k) v[i][k] = hn::Load(d, from + (4 * i + k) * kTileSide);
    TurnBlocks(v[i]);
  }
  // Block b of v[i][k] belongs to row 4 b + k, as its block i.
  HWY_UNROLL(4)
  for (int64_t k = 0; k < 4; ++k) {
    const __m512 low = _mm512_shuffle_f32x4(v[0][k].raw, v[1][k].raw, 0x88);   // blocks 0 and 2
    const __m512 high = _mm512_shuffle_f32x4(v[0][k].raw, v[1][k].raw, 0xDD);  // 1 and 3
    const __m512 low2 = _mm512_shuffle_f32x4(v[2][k].raw, v[3][k].raw, 0x88);
    const __m512 high2 = _mm512_shuffle_f32x4(v[2][k].raw, v[3][k].raw, 0xDD);
    float* row = to + k * kTileSide;
    _mm512_store_ps(row, _mm512_shuffle_f32x4(low, low2, 0x88));
    _mm512_store_ps(row + 4 * kTileSide, _mm512_shuffle_f32x4(high, high2, 0x88));
    _mm512_store_ps(row + 8 * kTileSide, _mm512_shuffle_f32x4(low, low2, 0xDD));
    _mm512_store_ps(row + 12 * kTileSide, _mm512_shuffle_f32x4(high, high2, 0xDD));
  }
  (void)lanes;
#else
  for (int64_t i = 0; i < kTileSide; i += 4) {
    for (int64_t j = 0; j < kTileSide; j += lanes) {
      FloatVector v[4];
      for (int64_t k = 0; k < 4; ++k) v[k] = hn::Load(d, from + (i + k) * kTileSide + j);
      TurnBlocks(v);
      for (int64_t k = 0; k < 4; ++k) {
        HWY_ALIGN float turned[16];
        hn::Store(v[k], d, turned);
        for (int64_t block = 0; block < lanes; block += 4) {
          std::memcpy(to + (j + block + k) * kTileSide + i, turned + block, 4 * sizeof(float));
        }
      }
    }
  }
#endif
}
#endif

// Packs up to kTileSide rows as TileProduct wants a tile.
HWY_INLINE void PackMatrixTile(const float* x, int64_t rows, int64_t in, int64_t padded_in,
                               Ahead& ahead, BFloat16* packed) {
  constexpr int64_t kPairs = kTileColumns / 2;
  HWY_ALIGN float pairs[kTileSide * kPairs];   // [rows, pairs]
  HWY_ALIGN float turned[kPairs * kTileSide];  // [pairs, rows]
  std::fill_n(pairs, kTileSide * kPairs, 0.0f);
  for (int64_t i = 0; i < padded_in; i += kTileColumns) {
    for (int64_t row = 0; row < rows; ++row) {
      const float* from = x + row * in + i;
      auto* to = reinterpret_cast<BFloat16*>(pairs + row * kPairs);
      if (i + kTileColumns <= in) {
        NarrowStep(from, to);
      } else {
        float padded[kTileColumns] = {};
        std::copy(from, from + in - i, padded);
        NarrowStep(padded, to);
      }
      ahead.Fetch();
    }
    BFloat16* to = packed + i * rows;
    if (rows == kTileSide) {
      Turn(pairs, reinterpret_cast<float*>(to));
    } else if (rows == 1) {
      std::memcpy(to, pairs, kPairs * sizeof(float));
    } else {
      Turn(pairs, turned);
      for (int64_t pair = 0; pair < kPairs; ++pair) {
        std::memcpy(to + pair * rows * 2, turned + pair * kTileSide, rows * sizeof(float));
      }
    }
  }
}

}  // namespace shira::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // SHIRA_SERVER_MODEL_KERNELS_LINEAR_MATRIX_TILE_INL_H_
