#include "server/engine/step_costs.h"

#include <gtest/gtest.h>

namespace shira {
namespace {

StepCosts::Coefficients Known() {
  StepCosts::Coefficients c;
  c.step = {1.0, 2.0, 4.0, 8.0, 16.0, 32.0};
  c.context_token = 0.01;
  c.prefill_token = 0.1;
  c.patched_state = 0.5;
  c.patched_entry = 0.001;
  c.patched_token = 0.02;
  c.switch_base = 0.25;
  c.switch_entry = 0.002;
  return c;
}

TEST(StepCostsTest, AStepIsTheSumOfItsParts) {
  const StepCosts costs(Known());
  EXPECT_DOUBLE_EQ(costs.Seconds({.decode_rows = 4,
                                  .decode_context = 100,
                                  .prefill_tokens = 10,
                                  .patched_states = 2,
                                  .patched_entries = 300,
                                  .patched_tokens = 5}),
                   4.0 + 1.0 + 1.0 + 1.0 + 0.3 + 0.1);
  EXPECT_DOUBLE_EQ(costs.SwitchSeconds(100, 200), 0.25 + 0.6);
}

TEST(StepCostsTest, RowsInBetweenAndBeyondAreInterpolated) {
  const StepCosts costs(Known());
  EXPECT_DOUBLE_EQ(costs.StepSeconds(0), 1.0);
  EXPECT_DOUBLE_EQ(costs.StepSeconds(1), 1.0);
  EXPECT_DOUBLE_EQ(costs.StepSeconds(3), 3.0);
  EXPECT_DOUBLE_EQ(costs.StepSeconds(12), 12.0);
  EXPECT_DOUBLE_EQ(costs.StepSeconds(32), 32.0);
  EXPECT_DOUBLE_EQ(costs.StepSeconds(48), 48.0);
}

TEST(StepCostsTest, SaysHowManyPromptTokensFitATime) {
  const StepCosts costs(Known());
  EXPECT_EQ(costs.PrefillTokensWithin(5.0, 4), 10);
  EXPECT_EQ(costs.PrefillTokensWithin(4.0, 4), 0);
  EXPECT_EQ(costs.PrefillTokensWithin(1.0, 4), 0);
}

// Steps of every kind, as a machine would take them that is by 2 in one thing and by 0.6 in another
// not what was measured.
TEST(StepCostsTest, LearnsWhatStepsReallyTake) {
  StepCosts costs(Known());
  StepCosts::Coefficients real = Known();
  real.patched_entry *= 2.0;
  real.step[2] *= 0.6;
  const StepCosts truth(real);
  for (int i = 0; i < 3000; ++i) {
    const int64_t states = i % 3;
    const StepShape shape = {.decode_rows = 4,
                             .patched_states = states,
                             .patched_entries = states * 1000,
                             .patched_tokens = states};
    costs.Observe(shape, absl::Seconds(truth.Seconds(shape)));
  }
  const StepShape plain = {.decode_rows = 4};
  EXPECT_NEAR(costs.Seconds(plain), truth.Seconds(plain), 0.02 * truth.Seconds(plain));
  EXPECT_NEAR(costs.PatchSeconds(1, 1000, 1), truth.PatchSeconds(1, 1000, 1), 0.15);
  // What no step was seen of stays.
  EXPECT_DOUBLE_EQ(costs.StepSeconds(16), 16.0);
}

TEST(StepCostsTest, LearnsWhatSwitchesTake) {
  StepCosts costs(Known());
  for (int i = 0; i < 1000; ++i) costs.ObserveSwitch(1000, 1000, absl::Seconds(6));
  EXPECT_NEAR(costs.SwitchSeconds(1000, 1000), 6.0, 0.1);
}

TEST(StepCostsTest, AStandstillMovesNothingFar) {
  StepCosts costs(Known());
  costs.Observe({.decode_rows = 4}, absl::Hours(1));
  EXPECT_LT(costs.StepSeconds(4), 4.0 * 1.06);
  for (int i = 0; i < 10'000; ++i) costs.Observe({.decode_rows = 4}, absl::Hours(1));
  EXPECT_DOUBLE_EQ(costs.StepSeconds(4), 4.0 * StepCosts::kDrift);
  for (int i = 0; i < 10'000; ++i) costs.Observe({.decode_rows = 4}, absl::ZeroDuration());
  EXPECT_DOUBLE_EQ(costs.StepSeconds(4), 4.0 / StepCosts::kDrift);
}

TEST(StepCostsTest, NothingIsFree) {
  StepCosts::Coefficients free = {};
  free.step = {};
  free.prefill_token = 0.0;
  free.patched_state = -1.0;
  const StepCosts costs(free);
  EXPECT_GT(costs.StepSeconds(1), 0.0);
  EXPECT_GT(costs.PatchSeconds(1, 0, 0), 0.0);
  EXPECT_GT(costs.PrefillTokensWithin(1.0, 1), 0);
}

}  // namespace
}  // namespace shira
