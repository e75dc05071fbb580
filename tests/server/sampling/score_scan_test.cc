#include "server/sampling/score_scan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "tests/testutil/special_floats.h"

namespace shira {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using ::shira::testing::kInfinity;
using ::shira::testing::kNan;

std::vector<float> RandomScores(int64_t count) {
  std::mt19937 random(static_cast<uint32_t>(count));
  std::normal_distribution<float> normal(0.0f, 3.0f);
  std::vector<float> scores(count);
  for (float& score : scores) score = normal(random);
  return scores;
}

TEST(ScoreScanTest, FindsTheLargestScoreWhereverItIs) {
  for (const int64_t count : {1, 15, 16, 17, 100}) {
    for (int64_t place = 0; place < count; ++place) {
      std::vector<float> scores(count, kNan);
      scores[place] = -3.0f;
      EXPECT_EQ(LargestScore(scores), -3.0f);
      EXPECT_EQ(FirstPlaceOf(-3.0f, scores), place);
      EXPECT_EQ(FirstPlaceOf(7.0f, scores), -1);
    }
  }
  for (int place = 0; place < 35; ++place) {
    std::vector<float> scores(35, 1.0f);
    EXPECT_FALSE(ExtremesOf(scores).has_nan);
    scores[place] = kNan;
    EXPECT_TRUE(ExtremesOf(scores).has_nan) << place;
  }
  EXPECT_EQ(LargestScore({}), -kInfinity);
  EXPECT_EQ(LargestScore({kNan, 1.0f, kInfinity}), kInfinity);
}

TEST(ScoreScanTest, KeepsWhatIsAtLeastTheBoundInOrder) {
  std::vector<int32_t> tokens = {99};
  std::vector<float> kept = {99.0f};
  KeepAtLeast(1.0f, 2.0f, {2.0f, kNan, 1.9f, -kInfinity, 6.0f}, tokens, kept);
  EXPECT_THAT(tokens, ElementsAre(0, 4));
  EXPECT_THAT(kept, ElementsAre(1.0f, 3.0f));
  KeepAtLeast(1.0f, 1.0f, {0.0f, kNan}, tokens, kept);
  EXPECT_THAT(tokens, IsEmpty());
  EXPECT_THAT(kept, IsEmpty());
  const std::vector<float> scores = RandomScores(1003);
  KeepAtLeast(0.5f, 0.7f, scores, tokens, kept);
  size_t next = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] / 0.7f < 0.5f) continue;
    ASSERT_LT(next, tokens.size());
    EXPECT_EQ(tokens[next], static_cast<int32_t>(i));
    EXPECT_EQ(kept[next++], scores[i] / 0.7f);
  }
  EXPECT_EQ(next, tokens.size());
}

TEST(ScoreScanTest, WeightsAreExponentialsAndAddUp) {
  for (const int64_t count : {1, 16, 255, 256, 257, 1003}) {
    std::vector<float> scores = RandomScores(count);
    scores.push_back(kNan);
    scores.push_back(-kInfinity);
    const float best = LargestScore(scores);
    std::vector<float> weights;
    std::vector<double> sums;
    Weigh(best, scores, weights, sums);
    double total = 0.0;
    for (int64_t i = 0; i < count; ++i) {
      const double expected = std::exp(static_cast<double>(scores[i]) - best);
      EXPECT_NEAR(weights[i], expected, 2e-6 * expected);
      total += expected;
    }
    EXPECT_EQ(weights[count], 0.0f);
    EXPECT_EQ(weights[count + 1], 0.0f);
    EXPECT_EQ(sums.size(), (scores.size() + kWeightBlock - 1) / kWeightBlock);
    EXPECT_NEAR(std::accumulate(sums.begin(), sums.end(), 0.0), total, 2e-6 * total);
    EXPECT_NEAR(SumOfWeights(best, 1.0f, scores), total, 2e-6 * total);
  }
}

TEST(ScoreScanTest, TheSumOfWeightsTakesTheTemperature) {
  EXPECT_NEAR(SumOfWeights(2.0f, 0.5f, {1.0f, 0.5f, kNan}), 1.0 + std::exp(-1.0), 1e-6);
}

}  // namespace
}  // namespace shira
