#include "server/model/kernels/emulated_tiles.h"

#include <hwy/base.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace shira {
namespace {

constexpr float kLeastNormal = std::numeric_limits<float>::min();

// What is HWY_INLINE becomes a part of both of Multiply's copies.

HWY_INLINE float WithoutSubnormal(float value) {
  return std::abs(value) < kLeastNormal ? std::copysign(0.0f, value) : value;
}

// a * b + c, rounded once. A result is flushed when it is below the least normal number after
// rounding as if there were no least exponent: which fmaf(), whose subnormal results have fewer
// digits, cannot tell for those that it rounds up to that number. Larger ones tell.
HWY_INLINE float MultiplyAdd(float a, float b, float c) {
  constexpr float kLarger = 0x1p60f;
  a = WithoutSubnormal(a);
  b = WithoutSubnormal(b);
  const float result = std::fma(a, b, c);
  if (std::abs(result) == kLeastNormal) {
    float& smaller = std::abs(a) < std::abs(b) ? a : b;
    smaller *= kLarger;
    const float scaled = std::fma(a, b, c * kLarger);
    if (std::abs(scaled) < kLeastNormal * kLarger) return std::copysign(0.0f, result);
  }
  return WithoutSubnormal(result);
}

// Sums of subnormal size are exact: no rounding can hide them.
HWY_INLINE float Add(float a, float b) {
  return WithoutSubnormal(WithoutSubnormal(a) + WithoutSubnormal(b));
}

// One weight row with one row of a tile. weights: [in]; packed: the row's first pair.
HWY_INLINE float Sum(const TileProduct& product, const BFloat16* weights, const BFloat16* packed) {
  float sum = 0.0f;
  for (int64_t begin = 0; begin < product.in; begin += kTileColumns) {
    float sums[2] = {0.0f, 0.0f};
    for (int64_t i = begin; i < begin + kTileColumns; ++i) {
      const float weight = i < product.in ? ToFloat(weights[i]) : 0.0f;
      const float activation = ToFloat(packed[i / 2 * product.rows * 2 + i % 2]);
      sums[i % 2] = MultiplyAdd(weight, activation, sums[i % 2]);
    }
    sum = Add(sum, Add(sums[0], sums[1]));
  }
  return sum;
}

HWY_INLINE void MultiplyTiles(const TileProduct& product, float* sums) {
  for (int64_t tile = 0; tile < product.tiles; ++tile) {
    const BFloat16* packed = product.packed + tile * product.steps() * kTileColumns * product.rows;
    for (int64_t o = 0; o < product.outs; ++o) {
      for (int64_t row = 0; row < product.rows; ++row) {
        sums[tile * kMaxTileOuts * kTileSide + o * SumStride(product.rows) + row] =
            Sum(product, product.weights + o * product.in, packed + 2 * row);
      }
    }
  }
}

// std::fma() is an instruction here, and a call of the C library where the processor may have none.
__attribute__((target("fma"))) void MultiplyTilesWithFma(const TileProduct& product, float* sums) {
  MultiplyTiles(product, sums);
}

}  // namespace

void EmulatedTiles::Multiply(const TileProduct& product, float* sums) {
  if (__builtin_cpu_supports("fma")) {
    MultiplyTilesWithFma(product, sums);
  } else {
    MultiplyTiles(product, sums);
  }
}

}  // namespace shira
