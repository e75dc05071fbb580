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

}  // namespace
}  // namespace shira
