// Products of matrix tiles: the instructions, where the processor has them, against their emulation
// bit for bit, and the emulation against what Intel documents.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "server/model/kernels/amx_tiles.h"
#include "server/model/kernels/emulated_tiles.h"
#include "tests/server/model/kernels/kernel_testing.h"

namespace shira {
namespace {

BFloat16 FromBits(uint32_t bits) { return FromFloat<BFloat16>(std::bit_cast<float>(bits << 16)); }

// Weights and activations, packed.
struct Operands {
  Operands(int64_t outs, int64_t in, int64_t rows, int64_t tiles)
      : weights(outs * in),
        activations(tiles * rows * in),
        product{.outs = outs, .in = in, .rows = rows, .tiles = tiles} {}

  // activations: [tiles, rows, in]
  const TileProduct& Pack() {
    const int64_t steps = product.steps();
    packed.assign(product.tiles * steps * kTileColumns * product.rows, BFloat16());
    for (int64_t tile = 0; tile < product.tiles; ++tile) {
      for (int64_t row = 0; row < product.rows; ++row) {
        for (int64_t i = 0; i < product.in; ++i) {
          packed[((tile * steps * kTileColumns + i) / 2 * product.rows + row) * 2 + i % 2] =
              activations[(tile * product.rows + row) * product.in + i];
        }
      }
    }
    product.weights = weights.data();
    product.packed = packed.data();
    return product;
  }

  std::vector<BFloat16> weights, activations, packed;
  TileProduct product;
};

template <class Tiles>
std::vector<float> SumsOf(const TileProduct& product) {
  const auto sums = hwy::AllocateAligned<float>(kTileSums);
  Tiles tiles;
  tiles.Multiply(product, sums.get());
  std::vector<float> result;
  for (int64_t tile = 0; tile < product.tiles; ++tile) {
    for (int64_t o = 0; o < product.outs; ++o) {
      for (int64_t row = 0; row < product.rows; ++row) {
        result.push_back(sums[tile * kMaxTileOuts * kTileSide + o * SumStride(product.rows) + row]);
      }
    }
  }
  return result;
}

// The only sum of one weight row and one row of activations.
float SumOf(const std::vector<float>& weights, const std::vector<float>& activations) {
  Operands operands(1, static_cast<int64_t>(weights.size()), 1, 1);
  for (size_t i = 0; i < weights.size(); ++i) {
    operands.weights[i] = FromFloat<BFloat16>(weights[i]);
    operands.activations[i] = FromFloat<BFloat16>(activations[i]);
  }
  return SumsOf<EmulatedTiles>(operands.Pack()).at(0);
}

uint32_t BitsOf(float value) { return std::bit_cast<uint32_t>(value); }

TEST(EmulatedTilesTest, EvenAndOddColumnsOfAStepAreSummedApart) {
  // In order, or all together, the ones would be lost beside 2^24.
  EXPECT_EQ(SumOf({0x1p24f, 1, -0x1p24f, 1}, {1, 1, 1, 1}), 2.0f);
  EXPECT_EQ(SumOf({0x1p24f, 0, 1, 0, -0x1p24f, 0}, {1, 0, 1, 0, 1, 0}), 0.0f);
  // Each product is added without a rounding of its own: (1 + 2^-7)^2 has 2^-14.
  EXPECT_EQ(SumOf({-1, 0, 1 + 0x1p-7f, 0}, {1 + 0x1p-6f, 0, 1 + 0x1p-7f, 0}), 0x1p-14f);
}

TEST(EmulatedTilesTest, StepsAreAddedInOrder) {
  std::vector<float> weights(3 * kTileColumns, 0.0f), ones(3 * kTileColumns, 1.0f);
  weights[0] = 0x1p24f;
  weights[kTileColumns] = 1;
  weights[2 * kTileColumns] = -0x1p24f;
  EXPECT_EQ(SumOf(weights, ones), 0.0f);
  std::swap(weights[kTileColumns], weights[2 * kTileColumns]);
  EXPECT_EQ(SumOf(weights, ones), 1.0f);
}

TEST(EmulatedTilesTest, SubnormalNumbersAreZeros) {
  EXPECT_EQ(SumOf({0x1p-127f}, {0x1p20f}), 0.0f);
  EXPECT_EQ(SumOf({0x1p20f}, {0x1p-127f}), 0.0f);
  EXPECT_EQ(SumOf({0x1p-64f}, {0x1p-63f}), 0.0f);
  EXPECT_EQ(SumOf({0x1p-63f}, {0x1p-63f}), 0x1p-126f);
  EXPECT_EQ(SumOf({0x1p-63f, 0, -0x1.8p-75f}, {0x1p-63f, 0, 0x1p-76f}), 0.0f)
      << "what rounds below the least normal number";
  EXPECT_EQ(SumOf({0x1p-63f, 0, -0x1p-75f}, {0x1p-63f, 0, 0x1p-76f}), 0x1p-126f)
      << "what rounds to it";
}

TEST(EmulatedTilesTest, InfinitiesAreAsInFloats) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(SumOf({infinity, 1}, {2, 3}), infinity);
  EXPECT_TRUE(std::isnan(SumOf({infinity, infinity}, {1, -1})));
  EXPECT_TRUE(std::isnan(SumOf({infinity}, {0})));
}

// How random elements are drawn: what rounding, subnormal numbers and cancellation show in.
enum class Draw { kNormal, kAllBits, kTinyProducts, kLeastProducts, kManySubnormal, kSomeInfinite };

BFloat16 RandomElement(Draw draw, std::mt19937& random) {
  const uint32_t bits = random();
  const auto with_exponent = [&](uint32_t least, uint32_t count) {
    return FromBits((bits & 0x807F) | (least + (bits >> 16) % count) << 7);
  };
  std::normal_distribution<float> normal;
  const bool rare = (bits >> 24) % 32 == 0;
  switch (draw) {
    case Draw::kAllBits:
      return FromBits(bits & 0xFFFF);
    case Draw::kTinyProducts:
      return with_exponent(40, 40);
    case Draw::kLeastProducts:
      return with_exponent(62, 3);
    case Draw::kManySubnormal:
      if ((bits >> 24) % 2 == 0) return FromBits(bits & 0x807F);
      return FromFloat<BFloat16>(normal(random));
    case Draw::kSomeInfinite:
      if (rare) return FromBits(0x7F80 | (bits & 0x8000));
      return FromFloat<BFloat16>(normal(random));
    case Draw::kNormal:
      break;
  }
  return FromFloat<BFloat16>(normal(random));
}

TEST(AmxTilesTest, EqualTheirEmulation) {
  if (!AmxTiles::Usable()) GTEST_SKIP() << "no AMX here";
  std::mt19937 random(11);
  constexpr int64_t kOuts[] = {1, 15, 16, 17, 32, 40, 63, 64};
  constexpr int64_t kIns[] = {1, 2, 31, 32, 33, 64, 100, 192};
  constexpr int64_t kRows[] = {1, 2, 5, 15, 16};
  for (const Draw draw : {Draw::kNormal, Draw::kAllBits, Draw::kTinyProducts, Draw::kLeastProducts,
                          Draw::kManySubnormal, Draw::kSomeInfinite}) {
    for (int i = 0; i < 60; ++i) {
      const auto one_of = [&](const auto& list) { return list[random() % std::size(list)]; };
      Operands operands(one_of(kOuts), one_of(kIns), one_of(kRows), 1 + random() % 2);
      for (BFloat16& weight : operands.weights) weight = RandomElement(draw, random);
      for (BFloat16& x : operands.activations) x = RandomElement(draw, random);
      const TileProduct& product = operands.Pack();
      const std::vector<float> expected = SumsOf<EmulatedTiles>(product);
      const std::vector<float> found = SumsOf<AmxTiles>(product);
      for (size_t at = 0; at < found.size(); ++at) {
        if (std::isnan(expected[at]) && std::isnan(found[at])) continue;
        ASSERT_EQ(BitsOf(found[at]), BitsOf(expected[at]))
            << "sum " << at << " of " << product.outs << " x " << product.in << " x "
            << product.rows << " x " << product.tiles << ", draw " << static_cast<int>(draw);
      }
    }
  }
}

}  // namespace
}  // namespace shira
