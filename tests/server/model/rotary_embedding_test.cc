#include "server/model/rotary_embedding.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace shira {
namespace {

ModelConfig Config(RopeScaling scaling = {}) {
  ModelConfig config;
  config.head_dim = 4;
  config.ropes[0].theta = 100.0;  // frequencies 1 and 0.1
  config.ropes[0].scaling = scaling;
  return config;
}

RotaryEmbedding::Angles AnglesBelow(int64_t positions, const ModelConfig& config) {
  return RotaryEmbedding(config.ropes[0], config.head_dim).Below(positions, DType::kF32);
}

float SineAt(const ModelConfig& config, int64_t position, int64_t frequency) {
  return AnglesBelow(position + 1, config).sin[position * config.head_dim / 2 + frequency];
}

TEST(RotaryEmbeddingTest, APairsAngleIsItsFrequencyTimesThePosition) {
  const RotaryEmbedding::Angles angles = AnglesBelow(3, Config());
  const std::vector<double> expected = {0.0, 0.0, 1.0, 0.1, 2.0, 0.2};
  ASSERT_EQ(angles.cos.size(), expected.size());
  ASSERT_EQ(angles.sin.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(angles.cos[i], std::cos(expected[i]), 1e-6) << i;
    EXPECT_NEAR(angles.sin[i], std::sin(expected[i]), 1e-6) << i;
  }
}

TEST(RotaryEmbeddingTest, LinearScalingDividesThePosition) {
  const ModelConfig scaled = Config({.kind = RopeScaling::Kind::kLinear, .factor = 4.0});
  EXPECT_NEAR(SineAt(scaled, 8, 0), SineAt(Config(), 2, 0), 1e-6);
  EXPECT_NEAR(SineAt(scaled, 8, 1), SineAt(Config(), 2, 1), 1e-6);
}

TEST(RotaryEmbeddingTest, Llama3ScalingKeepsShortWavesAndDividesLongOnes) {
  // Wavelengths are 6.28 and 62.8. A context of 40 keeps those below 10 and divides those above 40.
  const ModelConfig scaled = Config({.kind = RopeScaling::Kind::kLlama3,
                                     .factor = 8.0,
                                     .low_freq_factor = 1.0,
                                     .high_freq_factor = 4.0,
                                     .original_max_position = 40});
  EXPECT_FLOAT_EQ(SineAt(scaled, 3, 0), std::sin(3.0f));
  EXPECT_NEAR(SineAt(scaled, 8, 1), std::sin(0.1f), 1e-6);
}

TEST(RotaryEmbeddingTest, YarnKeepsFastTurnsDividesSlowOnesAndStrengthensAttention) {
  // Frequencies 1 and 0.1 turn 63.7 and 6.4 times in a context of 400.
  RopeScaling scaling{.kind = RopeScaling::Kind::kYarn, .factor = 4.0};
  scaling.original_max_position = 400;
  scaling.beta_fast = 60.0;
  scaling.beta_slow = 8.0;
  scaling.attention_factor = 1.5;
  const ModelConfig scaled = Config(scaling);
  EXPECT_NEAR(SineAt(scaled, 8, 0), 1.5 * SineAt(Config(), 8, 0), 1e-6);
  EXPECT_NEAR(SineAt(scaled, 8, 1), 1.5 * SineAt(Config(), 2, 1), 1e-6);
}

TEST(RotaryEmbeddingTest, LongRopeDividesEachFrequencyByTheFactorsThatCount) {
  RopeScaling scaling{.kind = RopeScaling::Kind::kLongRope};
  scaling.original_max_position = 64;
  scaling.short_factors = {1.0, 2.0};
  scaling.long_factors = {4.0, 8.0};
  for (const bool is_long : {false, true}) {
    scaling.ChooseFactors(is_long ? 65 : 64);
    const ModelConfig scaled = Config(scaling);
    EXPECT_NEAR(SineAt(scaled, 8, 0), SineAt(Config(), is_long ? 2 : 8, 0), 1e-6);
    EXPECT_NEAR(SineAt(scaled, 8, 1), SineAt(Config(), is_long ? 1 : 4, 1), 1e-6);
  }
}

TEST(RotaryEmbeddingTest, APartOfAHeadHasTheFrequenciesOfItsOwnWidth) {
  ModelConfig config = Config();
  config.head_dim = 8;
  config.ropes[0].rotary_dim = 4;
  const RotaryEmbedding::Angles part = AnglesBelow(5, config);
  EXPECT_EQ(part.sin, AnglesBelow(5, Config()).sin);
  EXPECT_TRUE(part.query_scales.empty());
}

TEST(RotaryEmbeddingTest, QueriesAreScaledOnceMoreForEachOriginalContext) {
  ModelConfig config = Config();
  config.ropes[0].scaling.original_max_position = 2;
  config.ropes[0].query_scale_beta = 0.5;
  const std::vector<float> scales = AnglesBelow(5, config).query_scales;
  ASSERT_EQ(scales.size(), 5u);
  for (int position = 0; position < 5; ++position) {
    EXPECT_FLOAT_EQ(scales[position], 1.0 + 0.5 * std::log(1.0 + position / 2)) << position;
  }
}

}  // namespace
}  // namespace shira
