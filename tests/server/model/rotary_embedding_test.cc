#include "server/model/rotary_embedding.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace shira {
namespace {

ModelConfig Config(RopeScaling scaling = {}) {
  ModelConfig config;
  config.head_dim = 4;
  config.rope_theta = 100.0;  // frequencies 1 and 0.1
  config.rope_scaling = scaling;
  return config;
}

float SineAt(const ModelConfig& config, int64_t position, int64_t frequency) {
  const at::Tensor positions = at::full({1}, position, at::TensorOptions(at::kLong));
  return RotaryEmbedding(config).At(positions, at::kFloat).sin[0][0][frequency].item<float>();
}

TEST(RotaryEmbeddingTest, TurnsEachPairOfHalvesByItsAngle) {
  const RotaryEmbedding rotary(Config());
  at::Tensor heads = at::tensor({1.0f, 0.0f, 0.0f, 1.0f}).view({1, 1, 4});
  RotaryEmbedding::Apply(rotary.At(at::full({1}, 2, at::TensorOptions(at::kLong)), at::kFloat),
                         heads);
  const std::vector<float> expected = {std::cos(2.0f), -std::sin(0.2f), std::sin(2.0f),
                                       std::cos(0.2f)};
  for (int64_t i = 0; i < 4; ++i) EXPECT_NEAR(heads[0][0][i].item<float>(), expected[i], 1e-6) << i;
}

TEST(RotaryEmbeddingTest, PositionZeroChangesNothing) {
  at::Tensor heads = at::tensor({1.0f, 2.0f, 3.0f, 4.0f}).view({1, 1, 4});
  const at::Tensor before = heads.clone();
  RotaryEmbedding::Apply(
      RotaryEmbedding(Config()).At(at::zeros({1}, at::TensorOptions(at::kLong)), at::kFloat),
      heads);
  EXPECT_TRUE(heads.equal(before));
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
