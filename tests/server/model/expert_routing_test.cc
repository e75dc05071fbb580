#include "server/model/expert_routing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "base/float_types.h"
#include "tests/testutil/special_floats.h"

namespace shira {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatEq;

using ::shira::testing::kNan;

TEST(ExpertRoutingTest, ATokenUsesItsBestExpertsTheBestFirst) {
  ExpertRouting routing({.experts = 5, .experts_per_token = 2}, DType::kF32, 4);
  const std::vector<std::vector<float>> scores = {
      {1.0f, 3.0f, -2.0f, 4.0f, 0.0f},
      {-1.0f, -2.0f, -3.0f, -4.0f, -5.0f},
      {0.0f, 1.0f, 2.0f, 3.0f, 4.0f},
  };
  for (int64_t token = 0; token < 3; ++token) routing.Choose(token, scores[token].data());
  EXPECT_THAT(routing.experts_of(0), ElementsAre(3, 1));
  EXPECT_THAT(routing.experts_of(1), ElementsAre(0, 1));
  EXPECT_THAT(routing.experts_of(2), ElementsAre(4, 3));
}

TEST(ExpertRoutingTest, OfEqualScoresTheFirstCountsAndWhatIsNoNumberComesLast) {
  ExpertRouting routing({.experts = 6, .experts_per_token = 4}, DType::kF32, 2);
  const std::vector<float> equal = {1.0f, 2.0f, 1.0f, 2.0f, 1.0f, 1.0f};
  routing.Choose(0, equal.data());
  EXPECT_THAT(routing.experts_of(0), ElementsAre(1, 3, 0, 2));
  const std::vector<float> broken = {kNan, kNan, -5.0f, kNan, 7.0f, kNan};
  routing.Choose(1, broken.data());
  EXPECT_THAT(routing.experts_of(1), ElementsAre(4, 2, 0, 1));
  routing.Sort(2);
  EXPECT_EQ(routing.rows(), 8);
}

TEST(ExpertRoutingTest, WeightsAreSharesOfAllExpertsOrOfThoseThatAreUsed) {
  const std::vector<float> scores = {0.0f, std::log(2.0f), std::log(5.0f)};
  Mixture mixture = {.experts = 3, .experts_per_token = 2, .normalised = false};
  ExpertRouting shares(mixture, DType::kF32, 1);
  shares.Choose(0, scores.data());
  EXPECT_THAT(shares.weights_of(0), ElementsAre(FloatEq(5.0f / 8), FloatEq(2.0f / 8)));
  mixture.normalised = true;
  ExpertRouting normalised(mixture, DType::kBF16, 1);
  normalised.Choose(0, scores.data());
  EXPECT_THAT(normalised.weights_of(0), ElementsAre(FloatEq(5.0f / 7), FloatEq(2.0f / 7)));
  mixture.rounds_weights = true;
  ExpertRouting rounded(mixture, DType::kBF16, 1);
  rounded.Choose(0, scores.data());
  EXPECT_THAT(rounded.weights_of(0), ElementsAre(ToFloat(FromFloat<BFloat16>(5.0f / 7)),
                                                 ToFloat(FromFloat<BFloat16>(2.0f / 7))));
}

TEST(ExpertRoutingTest, LargeScoresDoNotOverflow) {
  ExpertRouting routing({.experts = 2, .experts_per_token = 2}, DType::kF32, 1);
  const std::vector<float> scores = {3e4f, 3e4f};
  routing.Choose(0, scores.data());
  EXPECT_THAT(routing.weights_of(0), ElementsAre(0.5f, 0.5f));
}

TEST(ExpertRoutingTest, AnExpertsRowsAreThoseOfItsTokensInTheirOrder) {
  ExpertRouting routing({.experts = 4, .experts_per_token = 2}, DType::kF32, 8);
  const std::vector<std::vector<float>> scores = {
      {2, 1, 0, 0}, {0, 0, 1, 2}, {2, 0, 0, 1}, {0, 0, 2, 1}};
  for (int64_t token = 0; token < 4; ++token) routing.Choose(token, scores[token].data());
  for (const int64_t tokens : {4, 1, 3, 4}) {
    SCOPED_TRACE(tokens);
    routing.Sort(tokens);
    ASSERT_EQ(routing.rows(), 2 * tokens);
    std::set<int64_t> rows;
    for (int64_t token = 0; token < tokens; ++token) {
      for (size_t i = 0; i < 2; ++i) {
        const int64_t row = routing.rows_of(token)[i], expert = routing.experts_of(token)[i];
        EXPECT_EQ(routing.token_of(row), token);
        EXPECT_GE(row, routing.first_row(expert));
        EXPECT_LT(row, routing.first_row(expert + 1));
        rows.insert(row);
      }
    }
    EXPECT_EQ(rows.size(), 2 * static_cast<size_t>(tokens));
    for (int64_t expert = 0; expert < 4; ++expert) {
      for (int64_t row = routing.first_row(expert) + 1; row < routing.first_row(expert + 1);
           ++row) {
        EXPECT_LT(routing.token_of(row - 1), routing.token_of(row));
      }
    }
  }
  // Expert 1 has one token, expert 0 two.
  EXPECT_EQ(routing.first_row(1), 2);
  EXPECT_EQ(routing.first_row(2), 3);
}

}  // namespace
}  // namespace shira
