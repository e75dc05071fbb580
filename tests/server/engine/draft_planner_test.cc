#include "server/engine/draft_planner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <random>
#include <vector>

namespace shira {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Steps of so many seconds for 1, 2, 4, 8, 16 and 32 rows; nothing else costs anything.
StepCosts Steps(const std::array<double, 6>& seconds) {
  StepCosts::Coefficients c;
  c.step = seconds;
  c.context_token = c.prefill_token = c.patched_state = c.patched_entry = c.patched_token = 0.0;
  return StepCosts(c);
}
// As where reading the weights is all that counts, and as where arithmetic does.
StepCosts Flat() { return Steps({1.0, 1.0, 1.0, 1.0, 1.0, 1.0}); }
StepCosts Steep() { return Steps({1.0, 2.0, 4.0, 8.0, 16.0, 32.0}); }
StepCosts Gentle() { return Steps({1.0, 1.05, 1.15, 1.35, 1.75, 2.55}); }

std::vector<int64_t> Plan(std::vector<DraftOffer> offers, const StepCosts& costs,
                          int64_t decode_rows = -1, int64_t room = 1000,
                          int64_t prefill_tokens = 0) {
  const auto rows = decode_rows < 0 ? static_cast<int64_t>(offers.size()) : decode_rows;
  return PlanDrafts({.step = {.decode_rows = rows, .prefill_tokens = prefill_tokens},
                     .room = room,
                     .offers = offers},
                    costs);
}

TEST(DraftPlannerTest, NothingOfferedIsNothingPlanned) {
  EXPECT_THAT(Plan({}, Flat()), IsEmpty());
  EXPECT_THAT(Plan({{.tokens = 0, .acceptance = 0.9}}, Flat()), ElementsAre(0));
}

TEST(DraftPlannerTest, WhereRowsCostNothingAllIsDrafted) {
  EXPECT_THAT(Plan({{.tokens = 9, .acceptance = 0.9}}, Flat()), ElementsAre(9));
  EXPECT_THAT(Plan({{.tokens = 100, .acceptance = 0.9}}, Flat()), ElementsAre(kMostDraftTokens));
}

TEST(DraftPlannerTest, WhereEveryRowCostsAStepNothingIs) {
  EXPECT_THAT(Plan({{.tokens = 15, .acceptance = 0.99}}, Steep()), ElementsAre(0));
}

TEST(DraftPlannerTest, UnlikelyDraftsAreGivenUp) {
  EXPECT_THAT(Plan({{.tokens = 15, .acceptance = 0.02}}, Gentle()), ElementsAre(0));
}

TEST(DraftPlannerTest, LikelierDraftsAreLonger) {
  int64_t before = 0;
  for (const double acceptance : {0.02, 0.3, 0.6, 0.8, 0.9, 0.98}) {
    const int64_t tokens = Plan({{.tokens = 15, .acceptance = acceptance}}, Gentle()).at(0);
    EXPECT_GE(tokens, before) << acceptance;
    before = tokens;
  }
  EXPECT_GT(before, 8);
}

TEST(DraftPlannerTest, LooksBeyondANumberOfRowsThatCostsMore) {
  // Two rows are slow, four and eight are not slower.
  const StepCosts costs = Steps({1.0, 2.0, 2.0, 2.0, 8.0, 16.0});
  EXPECT_THAT(Plan({{.tokens = 15, .acceptance = 0.95}}, costs), ElementsAre(7));
}

TEST(DraftPlannerTest, ARowWithoutADraftIsNotSlowedDown) {
  const DraftOffer offer = {.tokens = 15, .acceptance = 0.98};
  EXPECT_GT(Plan({offer}, Gentle()).at(0), 0);
  EXPECT_THAT(Plan({offer}, Gentle(), /*decode_rows=*/2), ElementsAre(0));
  EXPECT_THAT(Plan({offer, {.tokens = 0, .acceptance = 0.9}}, Gentle()), ElementsAre(0, 0));
  // Nor one whose draft is not worth it.
  EXPECT_THAT(Plan({offer, {.tokens = 15, .acceptance = 0.01}}, Gentle()), ElementsAre(0, 0));
  EXPECT_THAT(Plan({offer}, Flat(), 2), ElementsAre(kMostDraftTokens));
}

TEST(DraftPlannerTest, APromptIsNotSlowedDown) {
  StepCosts::Coefficients c = Gentle().coefficients();
  c.prefill_token = 0.1;
  const DraftOffer offer = {.tokens = 15, .acceptance = 0.98};
  const int64_t drafted = Plan({offer}, StepCosts(c), 1, 1000, 100).at(0);
  const StepShape without = {.decode_rows = 1, .prefill_tokens = 100};
  StepShape with = without;
  with.decode_rows += drafted;
  EXPECT_GT(drafted, 0) << "the step is long in any case";
  EXPECT_LE(StepCosts(c).Seconds(with) * kLeastPace, StepCosts(c).Seconds(without));
}

TEST(DraftPlannerTest, TheLikelierOfferGetsMore) {
  const std::vector<int64_t> plan =
      Plan({{.tokens = 15, .acceptance = 0.6}, {.tokens = 15, .acceptance = 0.95}}, Flat(), 2, 10);
  EXPECT_LT(plan[0], plan[1]);
  EXPECT_EQ(plan[0] + plan[1], 10);
}

TEST(DraftPlannerTest, PatchedTokensCostMore) {
  StepCosts::Coefficients c = Gentle().coefficients();
  c.patched_token = 1.0;
  const DraftOffer offer = {.tokens = 15, .acceptance = 0.9};
  EXPECT_GT(Plan({offer}, StepCosts(c)).at(0), 0);
  DraftOffer patched = offer;
  patched.patched = true;
  EXPECT_THAT(Plan({patched}, StepCosts(c)), ElementsAre(0));
}

TEST(DraftPlannerTest, NeverMoreThanThereIsRoomForNorThanAStepDrafts) {
  EXPECT_THAT(Plan({{.tokens = 15, .acceptance = 0.9}}, Flat(), 1, 3), ElementsAre(3));
  EXPECT_THAT(Plan({{.tokens = 15, .acceptance = 0.9}}, Flat(), 1, 0), ElementsAre(0));
  EXPECT_THAT(Plan({{.tokens = 15, .acceptance = 0.9}}, Flat(), 1, -5), ElementsAre(0));
  const std::vector<int64_t> many =
      Plan(std::vector<DraftOffer>(16, {.tokens = 15, .acceptance = 0.9}), Flat());
  EXPECT_EQ(std::accumulate(many.begin(), many.end(), int64_t{0}), kMostStepDraftTokens);
  EXPECT_THAT(many, Each(2));
}

TEST(DraftPlannerTest, NoPlanIsExpectedToSlowAnybodyDown) {
  std::mt19937 random(1);
  const auto real = [&] { return static_cast<double>(random() % 1000) / 1000.0; };
  int64_t drafted = 0;
  for (int round = 0; round < 500; ++round) {
    StepCosts::Coefficients c;
    c.step[0] = 0.1 + real();
    for (size_t i = 1; i < c.step.size(); ++i) c.step[i] = c.step[i - 1] * (1.0 + real() / 2);
    c.patched_token = real() / 100;
    const StepCosts costs(c);
    DraftSnapshot snapshot;
    for (size_t i = 1 + random() % 5; i > 0; --i) {
      snapshot.offers.push_back({.tokens = static_cast<int64_t>(random() % 16),
                                 .acceptance = real() * 0.99,
                                 .patched = random() % 2 == 0});
    }
    const auto offers = static_cast<int64_t>(snapshot.offers.size());
    snapshot.step = {.decode_rows = offers + static_cast<int64_t>(random() % 2),
                     .decode_context = 100};
    snapshot.room = 100;
    const std::vector<int64_t> plan = PlanDrafts(snapshot, costs);
    StepShape with = snapshot.step;
    double least = snapshot.step.decode_rows > offers ? 1.0 : 100.0;
    for (size_t i = 0; i < plan.size(); ++i) {
      EXPECT_LE(plan[i], snapshot.offers[i].tokens);
      drafted += plan[i];
      with.decode_rows += plan[i];
      if (snapshot.offers[i].patched) with.patched_tokens += plan[i];
      double tokens = 1.0, chance = 1.0;
      for (int64_t k = 0; k < plan[i]; ++k) {
        chance *= snapshot.offers[i].acceptance;
        tokens += chance;
      }
      least = std::min(least, tokens);
    }
    EXPECT_GE(least * costs.Seconds(snapshot.step), 0.969 * costs.Seconds(with)) << round;
  }
  EXPECT_GT(drafted, 0);
}

}  // namespace
}  // namespace shira
