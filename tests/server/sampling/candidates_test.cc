#include "server/sampling/candidates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/testutil/special_floats.h"

namespace shira {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Gt;
using ::testing::IsEmpty;
using ::testing::Lt;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

using ::shira::testing::kInfinity;
using ::shira::testing::kNan;

std::vector<int32_t> Select(const SamplingParams& params, const std::vector<float>& scores) {
  Candidates candidates;
  SelectCandidates(params, scores, candidates);
  return candidates.tokens;
}

// Scores whose softmax at temperature 1 is `probabilities`.
std::vector<float> Logs(std::vector<float> probabilities) {
  for (float& value : probabilities) value = std::log(value);
  return probabilities;
}

TEST(CandidatesTest, WithoutFiltersEveryPossibleTokenIsACandidate) {
  EXPECT_THAT(Select({.temperature = 1.0f}, {1.0f, kNan, -kInfinity, -3.0f}), ElementsAre(0, 3));
}

TEST(CandidatesTest, TopKKeepsTheBestAndWhateverEqualsTheLastOfThem) {
  EXPECT_THAT(Select({.temperature = 1.0f, .top_k = 2}, {1.0f, 3.0f, 2.0f, 0.0f}),
              UnorderedElementsAre(1, 2));
  EXPECT_THAT(Select({.temperature = 1.0f, .top_k = 2}, {2.0f, 3.0f, 2.0f, 0.0f}),
              UnorderedElementsAre(0, 1, 2));
  EXPECT_THAT(Select({.temperature = 1.0f, .top_k = 9}, {2.0f, 3.0f}), UnorderedElementsAre(0, 1));
}

TEST(CandidatesTest, TopPKeepsTheFewestThatReachTheMass) {
  const std::vector<float> scores = Logs({0.1f, 0.5f, 0.15f, 0.25f});
  EXPECT_THAT(Select({.temperature = 1.0f, .top_p = 0.6f}, scores), ElementsAre(1, 3));
  EXPECT_THAT(Select({.temperature = 1.0f, .top_p = 0.76f}, scores), ElementsAre(1, 3, 2));
  EXPECT_THAT(Select({.temperature = 1.0f, .top_p = 1.0f}, scores),
              UnorderedElementsAre(0, 1, 2, 3));
}

TEST(CandidatesTest, TopPAlwaysKeepsTheBest) {
  EXPECT_THAT(Select({.temperature = 1.0f, .top_p = 1e-30f}, {0.0f, 1.0f}), ElementsAre(1));
}

TEST(CandidatesTest, MinPKeepsThoseNearTheBest) {
  const std::vector<float> scores = Logs({0.1f, 0.5f, 0.15f, 0.25f});
  EXPECT_THAT(Select({.temperature = 1.0f, .min_p = 0.4f}, scores), UnorderedElementsAre(1, 3));
  EXPECT_THAT(Select({.temperature = 1.0f, .min_p = 1.0f}, scores), ElementsAre(1));
}

TEST(CandidatesTest, TopPSeesTheDistributionThatTopKLeft) {
  // Alone, 0.8 needs three tokens; of the two that top-k leaves, the best has 2/3 and both are
  // needed; 0.6 is reached by the best alone.
  const std::vector<float> scores = Logs({0.1f, 0.5f, 0.15f, 0.25f});
  EXPECT_THAT(Select({.temperature = 1.0f, .top_k = 2, .top_p = 0.8f}, scores), ElementsAre(1, 3));
  EXPECT_THAT(Select({.temperature = 1.0f, .top_k = 2, .top_p = 0.6f}, scores), ElementsAre(1));
}

TEST(CandidatesTest, TemperatureComesBeforeTopP) {
  const std::vector<float> scores = {0.0f, 2.0f, 1.0f};
  EXPECT_THAT(Select({.temperature = 0.1f, .top_p = 0.9f}, scores), ElementsAre(1));
  EXPECT_THAT(Select({.temperature = 10.0f, .top_p = 0.9f}, scores), ElementsAre(1, 2, 0));
}

TEST(CandidatesTest, ThereIsNothingToDrawFromWithoutAFiniteBest) {
  EXPECT_THAT(Select({.temperature = 1.0f}, {kNan, kNan}), IsEmpty());
  EXPECT_THAT(Select({.temperature = 1.0f}, {-kInfinity, kNan}), IsEmpty());
  EXPECT_THAT(Select({.temperature = 1.0f}, {1.0f, kInfinity}), IsEmpty());
  EXPECT_THAT(Select({.temperature = 1e-38f}, {10.0f, 11.0f}), IsEmpty());
}

TEST(CandidatesTest, BestTokenTakesTheSmallerOfEqualsAndSkipsNan) {
  EXPECT_EQ(BestToken({kNan, 1.0f, 3.0f, 3.0f}), 2);
  EXPECT_EQ(BestToken({kNan, -kInfinity}), 1);
  EXPECT_EQ(BestToken({kNan, kNan}), 0);
  EXPECT_EQ(BestToken({-kInfinity, kInfinity}), 1);
}

TEST(CandidatesTest, PenaltyMovesScoresAwayFromTheTokensSeen) {
  std::vector<float> scores = {2.0f, -2.0f, 2.0f};
  PenaliseRepetition(2.0f, {0, 1}, absl::MakeSpan(scores));
  EXPECT_THAT(scores, ElementsAre(1.0f, -4.0f, 2.0f));
}

// The selection looks near the best score first: here the candidates reach far below that.
TEST(CandidatesTest, FindsCandidatesFarBelowTheBest) {
  std::vector<float> scores(1000, -12.0f);
  scores[7] = 0.0f;
  EXPECT_THAT(Select({.temperature = 1.0f, .top_k = 2}, scores), SizeIs(1000));  // all are equal
  // 999 e^-12 = 0.00614: together less than one percent, of which half is wanted.
  EXPECT_THAT(Select({.temperature = 1.0f, .top_p = 0.9969f}, scores),
              SizeIs(AllOf(Gt(300), Lt(700))));
  EXPECT_THAT(Select({.temperature = 1.0f, .min_p = 1e-6f}, scores), SizeIs(1000));
  EXPECT_THAT(Select({.temperature = 1.0f, .min_p = 1e-5f}, scores), ElementsAre(7));
}

// transformers keeps as many, but which ones is left to its sort.
TEST(CandidatesTest, OfEqualScoresAtTheEdgeOfTopPTheLargerIdsStay) {
  std::vector<float> scores(40, 1.0f);
  std::vector<int32_t> kept;
  for (int32_t id = 30; id < 40; ++id) kept.push_back(id);
  EXPECT_THAT(Select({.temperature = 1.0f, .top_p = 0.2499f}, scores),
              ::testing::UnorderedElementsAreArray(kept));
  // Half of the mass is the best one's; of the others one in ten is needed.
  scores[3] = 1.0f + std::log(39.0f);
  kept = {3, 39, 38, 37};
  EXPECT_THAT(Select({.temperature = 1.0f, .top_p = 0.538f}, scores),
              ::testing::UnorderedElementsAreArray(kept));
}

TEST(CandidatesTest, BestTokensComeInOrderAndNanLast) {
  EXPECT_THAT(BestTokens(3, {1.0f, 2.0f, 2.0f, 0.0f}), ElementsAre(1, 2, 0));
  EXPECT_THAT(BestTokens(3, {kNan, -kInfinity, 5.0f}), ElementsAre(2, 0, 1));
  EXPECT_THAT(BestTokens(2, {-100.0f, 5.0f, -200.0f}), ElementsAre(1, 0));
  EXPECT_THAT(BestTokens(0, {1.0f}), IsEmpty());
}

}  // namespace
}  // namespace shira
