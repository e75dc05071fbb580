#include "server/sampling/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/testutil/special_floats.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::IsOkAndHolds;
using ::shira::testing::StatusIs;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::FloatNear;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using ::shira::testing::kInfinity;
using ::shira::testing::kNan;

std::vector<int32_t> Draw(Sampler sampler, const std::vector<float>& logits, int count) {
  std::vector<int32_t> tokens;
  for (int i = 0; i < count; ++i) tokens.push_back(*sampler.Sample(logits));
  return tokens;
}

TEST(SamplerTest, GreedyTakesTheBestAndTheSmallerOfEquals) {
  EXPECT_THAT(Draw(Sampler({}, 4, {}), {1.0f, 7.0f, 7.0f, -kInfinity}, 3), Each(1));
}

TEST(SamplerTest, PenaltyCountsPromptAndAnswer) {
  // Prompt token 0 falls to 2; then 1 is chosen and falls to 1.5; then 0 to stay at 2, and so on.
  EXPECT_THAT(Draw(Sampler({.repetition_penalty = 2.0f}, 3, {0}), {4.0f, 3.0f, 0.5f}, 3),
              ElementsAre(1, 0, 0));
}

TEST(SamplerTest, PenaltyIsAppliedOnceHoweverOftenATokenWasSeen) {
  EXPECT_THAT(Draw(Sampler({.repetition_penalty = 2.0f}, 2, {0, 0, 0}), {4.0f, 1.5f}, 4), Each(0));
}

TEST(SamplerTest, PresencePenaltyCountsTheAnswerAloneAndOnce) {
  // Token 0 is in the prompt, which does not matter; once chosen it falls to 3, for good.
  EXPECT_THAT(Draw(Sampler({.presence_penalty = 1.0f}, 3, {0}), {4.0f, 3.5f, 2.75f}, 4),
              ElementsAre(0, 1, 0, 0));
}

TEST(SamplerTest, FrequencyPenaltyCountsEveryTime) {
  // 4, 3 -> 3, 3 (the smaller id) -> 2, 3 -> 2, 2 -> 1, 2.
  EXPECT_THAT(Draw(Sampler({.frequency_penalty = 1.0f}, 2, {}), {4.0f, 3.0f}, 5),
              ElementsAre(0, 0, 1, 0, 1));
}

TEST(SamplerTest, BiasIsAddedBeforeThePenalties) {
  EXPECT_THAT(
      Draw(Sampler({.logit_bias = {{2, 5.0f}, {0, -100.0f}}}, 3, {}), {4.0f, 3.0f, 0.0f}, 2),
      Each(2));
  // 1 + 3 = 4, halved to 2, which is below 2.5; with the bias added last it would be 3.5.
  const SamplingParams params = {.repetition_penalty = 2.0f, .logit_bias = {{0, 3.0f}}};
  EXPECT_THAT(Draw(Sampler(params, 2, {0}), {1.0f, 2.5f}, 1), ElementsAre(1));
}

TEST(SamplerTest, SameSeedSameTokensAndOtherSeedOtherTokens) {
  const std::vector<float> logits(100, 0.0f);
  const auto with_seed = [&](uint64_t seed) {
    return Draw(Sampler({.temperature = 1.0f, .seed = seed}, 100, {}), logits, 20);
  };
  EXPECT_EQ(with_seed(7), with_seed(7));
  EXPECT_NE(with_seed(7), with_seed(8));
}

// The generator's first outputs for seed 5489 are in the C++ standard's reach: the 10000th is
// 9981545732273789042. With 2^k equal tokens the draw is the generator's top k bits.
TEST(SamplerTest, ADrawIsTheTopBitsOfTheGenerator) {
  const std::vector<float> logits(1024, 0.25f);
  const std::vector<int32_t> tokens =
      Draw(Sampler({.temperature = 1.0f, .seed = 5489}, 1024, {}), logits, 10000);
  EXPECT_EQ(tokens.back(), static_cast<int32_t>(9981545732273789042u >> 54));
}

TEST(SamplerTest, ADrawDependsOnItsPositionAlone) {
  const std::vector<float> flat(64, 0.0f);
  std::vector<float> peaked(64, -kInfinity);
  peaked[3] = 1.0f;
  Sampler one({.temperature = 1.0f, .seed = 3}, 64, {});
  Sampler other({.temperature = 1.0f, .seed = 3}, 64, {});
  EXPECT_THAT(one.Sample(flat), IsOk());
  EXPECT_THAT(other.Sample(peaked), IsOk());
  EXPECT_EQ(*one.Sample(flat), *other.Sample(flat));
}

TEST(SamplerTest, LogitsThatAreNoDistributionAreAnError) {
  const SamplingParams drawn = {.temperature = 0.7f, .top_k = 2};
  const SamplingParams penalised = {.repetition_penalty = 2.0f, .logit_bias = {{0, 3.0f}}};
  for (const SamplingParams& params : {SamplingParams(), drawn, penalised}) {
    const auto sample = [&](std::vector<float> logits) {
      return Sampler(params, static_cast<int32_t>(logits.size()), {}).Sample(logits);
    };
    for (int place = 0; place < 19; ++place) {
      std::vector<float> logits(19, 1.0f);
      logits[place] = kNan;
      EXPECT_THAT(sample(logits), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("NaN")));
      logits[place] = kInfinity;
      EXPECT_THAT(sample(logits), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("(infinity")));
    }
    EXPECT_THAT(sample({-kInfinity, -kInfinity}),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr("nothing but")));
    EXPECT_THAT(sample({-kInfinity, 1.0f, -kInfinity}), IsOkAndHolds(1));
  }
}

struct DistributionCase {
  SamplingParams params;
  std::vector<double> expected;
};

class SamplerDistributionTest : public ::testing::TestWithParam<DistributionCase> {};

// Pearson's chi-square with a fixed seed: 23.5 is exceeded by chance once in 10,000 at four degrees
// of freedom, and fewer degrees only lower it.
TEST_P(SamplerDistributionTest, DrawsFollowTheProbabilities) {
  constexpr int kDraws = 20000;
  const std::vector<float> logits = {std::log(0.4f), std::log(0.3f), std::log(0.15f),
                                     std::log(0.1f), std::log(0.05f)};
  std::vector<int> counts(logits.size(), 0);
  for (const int32_t token : Draw(Sampler(GetParam().params, 5, {}), logits, kDraws)) {
    ++counts[token];
  }
  double chi_square = 0.0;
  for (size_t i = 0; i < counts.size(); ++i) {
    const double expected = GetParam().expected[i] * kDraws;
    if (expected == 0.0) {
      EXPECT_EQ(counts[i], 0);
    } else {
      chi_square += (counts[i] - expected) * (counts[i] - expected) / expected;
    }
  }
  EXPECT_LT(chi_square, 23.5);
}

INSTANTIATE_TEST_SUITE_P(
    Filters, SamplerDistributionTest,
    ::testing::Values(
        DistributionCase{{.temperature = 1.0f, .seed = 1}, {0.4, 0.3, 0.15, 0.1, 0.05}},
        DistributionCase{{.temperature = 1.0f, .top_k = 2, .seed = 2}, {4 / 7.0, 3 / 7.0, 0, 0, 0}},
        DistributionCase{{.temperature = 1.0f, .top_p = 0.8f, .seed = 3},
                         {0.4 / 0.85, 0.3 / 0.85, 0.15 / 0.85, 0, 0}},
        DistributionCase{{.temperature = 1.0f, .min_p = 0.2f, .seed = 4},
                         {0.4 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0.1 / 0.95, 0}},
        // Probabilities squared: 0.16, 0.09, 0.0225, 0.01, 0.0025 of 0.285.
        DistributionCase{
            {.temperature = 0.5f, .seed = 5},
            {0.16 / 0.285, 0.09 / 0.285, 0.0225 / 0.285, 0.01 / 0.285, 0.0025 / 0.285}}));

TEST(SamplerTest, NeverDrawsAnImpossibleToken) {
  const std::vector<float> logits = {-kInfinity, 0.0f, -kInfinity, 0.5f};
  for (const int32_t token : Draw(Sampler({.temperature = 2.0f, .seed = 9}, 4, {}), logits, 500)) {
    EXPECT_TRUE(token == 1 || token == 3) << token;
  }
}

TEST(SamplerTest, AlwaysAnswersWithATokenOfTheVocabulary) {
  // The penalty makes an infinity of a finite logit.
  const SamplingParams draws = {
      .temperature = 1.0f, .top_k = 2, .top_p = 0.5f, .min_p = 0.1f, .repetition_penalty = 1e-38f};
  EXPECT_THAT(Draw(Sampler(draws, 2, {1}), {0.0f, 1e38f}, 2), Each(1));
  EXPECT_THAT(Draw(Sampler(draws, 2, {1}), {0.0f, -kInfinity}, 2), Each(0));
}

TEST(SamplerTest, ATinyTemperatureIsGreedy) {
  EXPECT_THAT(Draw(Sampler({.temperature = 1e-38f}, 3, {}), {10.0f, 11.0f, 10.9f}, 5), Each(1));
}

TEST(LogprobsTest, AreTheModelsOwnDistribution) {
  const Logprobs result = ComputeLogprobs({std::log(0.1f), std::log(0.6f), std::log(0.3f)}, 0, 2);
  EXPECT_EQ(result.chosen.token, 0);
  EXPECT_NEAR(result.chosen.logprob, std::log(0.1f), 1e-6);
  ASSERT_THAT(result.top, SizeIs(2));
  EXPECT_EQ(result.top[0].token, 1);
  EXPECT_NEAR(result.top[0].logprob, std::log(0.6f), 1e-6);
  EXPECT_EQ(result.top[1].token, 2);
}

TEST(LogprobsTest, BestFirstAndTheSmallerOfEqualsFirst) {
  EXPECT_THAT(ComputeLogprobs({1.0f, 2.0f, 2.0f, 0.0f}, 0, 4).top,
              ElementsAre(Field(&TokenProbability::token, 1), Field(&TokenProbability::token, 2),
                          Field(&TokenProbability::token, 0), Field(&TokenProbability::token, 3)));
}

TEST(LogprobsTest, TopIsCutAtTheVocabulary) {
  EXPECT_THAT(ComputeLogprobs({1.0f, 2.0f}, 0, 20).top, SizeIs(2));
  EXPECT_THAT(ComputeLogprobs({1.0f, 2.0f}, 0, 0).top, IsEmpty());
}

TEST(LogprobsTest, LargeLogitsDoNotOverflow) {
  EXPECT_THAT(ComputeLogprobs({3e38f, 3e38f}, 1, 0).chosen.logprob,
              FloatNear(std::log(0.5f), 1e-6f));
}

TEST(LogprobsTest, NanCountsAsImpossible) {
  const Logprobs result = ComputeLogprobs({kNan, 0.0f}, 0, 2);
  EXPECT_EQ(result.chosen.logprob, -kInfinity);
  EXPECT_THAT(result.top, ElementsAre(Field(&TokenProbability::logprob, 0.0f),
                                      Field(&TokenProbability::logprob, -kInfinity)));
  EXPECT_EQ(ComputeLogprobs({kNan, kNan}, 1, 0).chosen.logprob, -kInfinity);
}

}  // namespace
}  // namespace shira
