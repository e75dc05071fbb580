#include "server/engine/step_planner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <deque>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace shira {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const Sha256Digest& State(int number) {
  static const auto* const kStates = [] {
    auto* states = new std::array<Sha256Digest, 20>;
    for (size_t i = 0; i < states->size(); ++i) (*states)[i] = Sha256::Of(std::to_string(i));
    return states;
  }();
  return kStates->at(number);
}

constexpr int64_t kEntries = 600'000;

SequenceView Decoding(SequenceId id, int state, absl::Duration waited = absl::ZeroDuration()) {
  SequenceView view;
  view.id = id;
  view.state = State(state);
  view.state_entries = kEntries;
  view.pending_tokens = 1;
  view.tokens_to_come = 100;
  view.waited = waited;
  return view;
}

SequenceView Prefilling(SequenceId id, int state, int64_t tokens,
                        absl::Duration waited = absl::ZeroDuration()) {
  SequenceView view = Decoding(id, state, waited);
  view.prefill = true;
  view.pending_tokens = tokens;
  return view;
}

StepSnapshot Snapshot(int resident, std::vector<SequenceView> running) {
  return {.resident = State(resident),
          .resident_entries = kEntries,
          .resident_for = absl::InfiniteDuration(),
          .running = std::move(running)};
}

using Row = std::pair<SequenceId, int64_t>;
std::vector<Row> Rows(const StepPlan& plan) {
  std::vector<Row> rows;
  for (const StepRow& row : plan.rows) rows.push_back({row.sequence, row.tokens});
  return rows;
}

// A fused step takes 10 ms for up to 4 rows and then 1 ms for each further one; a prompt token 1
// ms; a patched state `patch` ms; a switch 2 ms.
StepCosts Costs(double patch) {
  StepCosts::Coefficients c;
  c.step = {10e-3, 10e-3, 10e-3, 14e-3, 22e-3, 38e-3};
  c.context_token = 0.0;
  c.prefill_token = 1e-3;
  c.patched_state = patch * 1e-3;
  c.patched_entry = 0.0;
  c.patched_token = 1e-5;
  c.switch_base = 2e-3;
  c.switch_entry = 0.0;
  return StepCosts(c);
}

const StepLimits kAuto;
const StepLimits kSlices = {.row_patching = RowPatching::kOff};

TEST(StepPlannerTest, WithNothingRunningThereIsNoStep) {
  const StepPlan plan = PlanStep(Snapshot(0, {}), kAuto, Costs(1));
  EXPECT_THAT(plan.rows, IsEmpty());
  EXPECT_EQ(plan.switch_to, std::nullopt);
}

TEST(StepPlannerTest, OneStateIsMadeResident) {
  for (const StepLimits& limits : {kAuto, kSlices}) {
    StepPlan plan = PlanStep(Snapshot(0, {Decoding(1, 3), Decoding(2, 3)}), limits, Costs(0.1));
    EXPECT_EQ(plan.switch_to, State(3));
    EXPECT_THAT(Rows(plan), ElementsAre(Row{1, 1}, Row{2, 1}));
    plan = PlanStep(Snapshot(3, {Decoding(1, 3), Decoding(2, 3)}), limits, Costs(0.1));
    EXPECT_EQ(plan.switch_to, std::nullopt);
  }
}

// ---- Patching -----------------------------------------------------------------------------------

TEST(StepPlannerTest, ManyStatesShareAStepWhenPatchingIsCheap) {
  std::vector<SequenceView> running;
  std::vector<Row> rows;
  for (int i = 0; i < 8; ++i) {
    running.push_back(Decoding(i, i));
    rows.push_back({i, 1});
  }
  const StepPlan plan = PlanStep(Snapshot(3, running), kAuto, Costs(2));
  EXPECT_EQ(plan.switch_to, std::nullopt);
  EXPECT_EQ(Rows(plan), rows);
}

TEST(StepPlannerTest, StatesTakeTurnsWhenPatchingCostsMoreThanAStep) {
  const StepPlan plan =
      PlanStep(Snapshot(1, {Decoding(1, 0), Decoding(2, 1), Decoding(3, 1)}), kAuto, Costs(30));
  EXPECT_EQ(plan.switch_to, std::nullopt);
  EXPECT_THAT(Rows(plan), ElementsAre(Row{2, 1}, Row{3, 1}));
}

TEST(StepPlannerTest, AStepIsSplitWhereSomeStatesAreCheapToPatchAndOthersNot) {
  std::vector<SequenceView> running = {Decoding(1, 0), Decoding(2, 1), Decoding(3, 2)};
  for (const int dear : {1, 2}) running[dear].state_entries = 100 * kEntries;
  StepCosts::Coefficients c = Costs(0).coefficients();
  c.patched_entry = 1e-3 / kEntries;
  const StepPlan plan = PlanStep(Snapshot(1, running), kAuto, StepCosts(c));
  EXPECT_EQ(plan.switch_to, std::nullopt);
  EXPECT_THAT(Rows(plan), ElementsAre(Row{1, 1}, Row{2, 1}));
}

TEST(StepPlannerTest, TheStateThatIsDearToPatchBecomesTheResidentOne) {
  std::vector<SequenceView> running = {Decoding(1, 0), Decoding(2, 1), Decoding(3, 2)};
  running[1].state_entries = 20 * kEntries;
  StepCosts::Coefficients c = Costs(0).coefficients();
  c.patched_entry = 1e-3 / kEntries;
  const StepPlan plan = PlanStep(Snapshot(0, running), kAuto, StepCosts(c));
  EXPECT_EQ(plan.switch_to, State(1));
  EXPECT_EQ(plan.rows.size(), 3u);
}

TEST(StepPlannerTest, ASwitchHasToPayForItselfAndForTheWayBack) {
  // Nobody wants the resident state, so a switch saves a patch of 1 ms in each of the coming steps;
  // it takes 2 ms, and 2 ms back.
  std::vector<SequenceView> running = {Decoding(1, 1), Decoding(2, 2)};
  for (SequenceView& view : running) view.tokens_to_come = 3;
  EXPECT_EQ(PlanStep(Snapshot(0, running), kAuto, Costs(1)).switch_to, std::nullopt);
  for (SequenceView& view : running) view.tokens_to_come = 6;
  EXPECT_NE(PlanStep(Snapshot(0, running), kAuto, Costs(1)).switch_to, std::nullopt);
}

TEST(StepPlannerTest, ThereIsNoPingPongBetweenEqualStates) {
  std::vector<SequenceView> running = {Decoding(1, 0), Decoding(2, 1)};
  for (const int resident : {0, 1}) {
    const StepPlan plan = PlanStep(Snapshot(resident, running), kAuto, Costs(1));
    EXPECT_EQ(plan.switch_to, std::nullopt);
    EXPECT_EQ(plan.rows.size(), 2u);
  }
}

TEST(StepPlannerTest, ALongPromptIsRunInItsOwnStateBesideDecodingStreams) {
  StepCosts::Coefficients c = Costs(1).coefficients();
  c.patched_token = 1e-3;  // patched prompts cost twice as much
  const StepCosts costs(c);
  const std::vector<SequenceView> running = {Decoding(1, 0), Decoding(2, 0), Prefilling(3, 1, 500)};
  const StepPlan plan = PlanStep(Snapshot(0, running), kAuto, costs);
  EXPECT_EQ(plan.switch_to, State(1));
  EXPECT_EQ(plan.rows.size(), 3u);
  // Once it decodes like the others, the state of most rows is the one to be in.
  const std::vector<SequenceView> later = {Decoding(1, 0), Decoding(2, 0), Decoding(3, 1)};
  EXPECT_EQ(PlanStep(Snapshot(1, later), kAuto, costs).switch_to, State(0));
}

// ---- Prompts ------------------------------------------------------------------------------------

TEST(StepPlannerTest, DecodeRowsComeFirstAndPromptsFillTheRest) {
  const StepLimits limits = {.step_tokens = 40, .max_stall = absl::InfiniteDuration()};
  const StepPlan plan = PlanStep(
      Snapshot(0, {Decoding(1, 0), Prefilling(2, 0, 20), Decoding(3, 0), Prefilling(4, 0, 30)}),
      limits, Costs(1));
  EXPECT_THAT(Rows(plan), ElementsAre(Row{1, 1}, Row{2, 20}, Row{3, 1}, Row{4, 18}));
}

TEST(StepPlannerTest, APromptTakesNoMoreTimeThanOthersMayStall) {
  const StepLimits limits = {.step_tokens = 500, .max_stall = absl::Milliseconds(50)};
  // 10 ms for the decode row, so 40 of 1 ms are left.
  EXPECT_THAT(
      Rows(PlanStep(Snapshot(0, {Decoding(1, 0), Prefilling(2, 0, 400)}), limits, Costs(1))),
      ElementsAre(Row{1, 1}, Row{2, 40}));
  EXPECT_THAT(Rows(PlanStep(Snapshot(0, {Prefilling(2, 0, 400)}), limits, Costs(1))),
              ElementsAre(Row{2, 400}));
}

TEST(StepPlannerTest, SomePromptGoesOnHoweverLittleIsLeft) {
  const StepLimits limits = {.step_tokens = 2, .max_stall = absl::ZeroDuration()};
  EXPECT_THAT(Rows(PlanStep(Snapshot(0, {Decoding(1, 0), Decoding(2, 0), Prefilling(3, 0, 9)}),
                            limits, Costs(1))),
              ElementsAre(Row{1, 1}, Row{2, 1}, Row{3, 2}));
}

TEST(StepPlannerTest, APromptThatWouldGetTooFewTokensWaits) {
  const StepLimits limits = {.step_tokens = 40, .max_stall = absl::InfiniteDuration()};
  EXPECT_THAT(
      Rows(PlanStep(Snapshot(0, {Prefilling(1, 0, 30), Prefilling(2, 0, 30), Prefilling(3, 0, 5)}),
                    limits, Costs(1))),
      ElementsAre(Row{1, 30}, Row{3, 5}));
}

// ---- Taking turns -------------------------------------------------------------------------------

TEST(StepPlannerTest, WithoutPatchingTheResidentStateGoesOnUntilSomebodyWaitedForTheLimit) {
  StepSnapshot snapshot =
      Snapshot(0, {Decoding(1, 0), Decoding(2, 1, absl::Milliseconds(199)), Decoding(3, 2)});
  StepPlan plan = PlanStep(snapshot, kSlices, Costs(0));
  EXPECT_EQ(plan.switch_to, std::nullopt);
  EXPECT_THAT(Rows(plan), ElementsAre(Row{1, 1}));
  snapshot.running[1].waited = absl::Milliseconds(200);
  plan = PlanStep(snapshot, kSlices, Costs(0));
  EXPECT_EQ(plan.switch_to, State(1));
  EXPECT_THAT(Rows(plan), ElementsAre(Row{2, 1}));
}

TEST(StepPlannerTest, TheOneWhoWaitedLongestIsNextAndTiesGoToTheFirst) {
  const StepSnapshot snapshot = Snapshot(
      0, {Decoding(1, 0), Decoding(2, 1, absl::Milliseconds(300)),
          Decoding(3, 2, absl::Milliseconds(400)), Decoding(4, 3, absl::Milliseconds(400))});
  EXPECT_EQ(PlanStep(snapshot, kSlices, Costs(1)).switch_to, State(2));
}

TEST(StepPlannerTest, ASliceIsLongEnoughForItsSwitch) {
  StepSnapshot snapshot = Snapshot(0, {Decoding(1, 0), Decoding(2, 1, absl::Seconds(1))});
  snapshot.resident_for = absl::Milliseconds(19);  // the switch takes 2
  EXPECT_EQ(PlanStep(snapshot, kSlices, Costs(1)).switch_to, std::nullopt);
  snapshot.resident_for = absl::Milliseconds(21);
  EXPECT_EQ(PlanStep(snapshot, kSlices, Costs(1)).switch_to, State(1));
}

TEST(StepPlannerTest, AStateThatIsLeftOutOfStepsGetsItsTurn) {
  const StepSnapshot snapshot =
      Snapshot(1, {Decoding(1, 0, absl::Milliseconds(200)), Decoding(2, 1)});
  const StepPlan plan = PlanStep(snapshot, kAuto, Costs(30));
  EXPECT_EQ(plan.switch_to, State(0));
  EXPECT_THAT(Rows(plan), ElementsAre(Row{1, 1}));
}

// ---- No starvation ------------------------------------------------------------------------------

// One generation of the simulation below.
struct Simulated {
  SequenceView view;
  int64_t prompt;
  absl::Duration waiting_since;
};

// Runs the policy against random arrivals on a simulated clock, and checks every plan and every
// wait.
void Simulate(uint32_t seed) {
  std::mt19937 random(seed);
  const auto below = [&](int64_t n) { return static_cast<int64_t>(random() % n); };
  const StepLimits limits{.step_tokens = 1 + below(64),
                          .max_stall = absl::Milliseconds(below(100)),
                          .max_state_wait = absl::Milliseconds(below(300)),
                          .row_patching = below(3) == 0 ? RowPatching::kOff : RowPatching::kAuto};
  const StepCosts costs = Costs(static_cast<double>(below(20)));
  const int states = 1 + static_cast<int>(below(10));
  const int64_t max_running = 1 + below(8);

  absl::Duration now;
  absl::Duration switched;
  int resident = 0;
  std::deque<Simulated> running;
  SequenceId next_id = 0;
  int finished = 0;
  for (int step = 0; step < 400 || !running.empty(); ++step) {
    ASSERT_LT(step, 100'000) << "seed " << seed;
    while (step < 400 && static_cast<int64_t>(running.size()) < max_running && below(4) == 0) {
      // A rare state among common ones.
      const int state = below(4) == 0 ? static_cast<int>(below(states)) : 0;
      SequenceView view = Decoding(next_id++, state);
      view.tokens_to_come = 1 + below(30);
      running.push_back({view, 1 + below(40), now});
    }
    StepSnapshot snapshot = Snapshot(resident, {});
    snapshot.resident_for = now - switched;
    for (Simulated& s : running) {
      s.view.prefill = s.prompt > 0;
      s.view.pending_tokens = std::max<int64_t>(s.prompt, 1);
      s.view.waited = now - s.waiting_since;
      snapshot.running.push_back(s.view);
    }
    const StepPlan plan = PlanStep(snapshot, limits, costs);
    ASSERT_EQ(plan.rows.empty(), running.empty());

    std::set<Sha256Digest> in_step;
    StepShape shape;
    if (plan.switch_to.has_value()) {
      ASSERT_NE(*plan.switch_to, State(resident));
      for (int s = 0; s < states; ++s) {
        if (State(s) == *plan.switch_to) resident = s;
      }
      now += absl::Seconds(costs.SwitchSeconds(0, 0));
      switched = now;
    }
    auto it = running.begin();
    std::vector<Simulated*> members;
    for (const StepRow& row : plan.rows) {
      it = std::find_if(it, running.end(),
                        [&](const Simulated& s) { return s.view.id == row.sequence; });
      ASSERT_NE(it, running.end()) << "not in order, or twice; seed " << seed;
      ASSERT_GT(row.tokens, 0);
      ASSERT_LE(row.tokens, it->view.pending_tokens);
      in_step.insert(it->view.state);
      (it->prompt > 0 ? shape.prefill_tokens : shape.decode_rows) += row.tokens;
      if (it->view.state != State(resident)) ++shape.patched_states;
      members.push_back(&*it);
      ++it;
    }
    if (limits.row_patching == RowPatching::kOff && !running.empty()) {
      ASSERT_EQ(in_step.size(), 1u);
    }
    ASSERT_TRUE(!plan.switch_to.has_value() || in_step.contains(*plan.switch_to));
    // Every sequence that decodes in a state of the step takes part.
    for (const Simulated& s : running) {
      if (s.prompt == 0 && in_step.contains(s.view.state)) {
        ASSERT_TRUE(std::any_of(members.begin(), members.end(),
                                [&](const Simulated* m) { return m == &s; }));
      }
    }
    now += absl::Seconds(costs.Seconds(shape));
    size_t row = 0;
    for (Simulated* s : members) {
      // A slice, and one step more, of every other state; prompts, too, have to wait for those
      // before them.
      if (s->prompt == 0) {
        ASSERT_LE(now - s->waiting_since,
                  limits.max_state_wait + static_cast<double>(max_running) *
                                              absl::Milliseconds(20 + 2 + 120 + 20 * max_running))
            << "seed " << seed;
      }
      s->waiting_since = now;
      const int64_t tokens = plan.rows[row++].tokens;
      if (s->prompt > 0) {
        s->prompt -= tokens;
      } else {
        --s->view.tokens_to_come;
      }
    }
    finished += static_cast<int>(
        std::erase_if(running, [](const Simulated& s) { return s.view.tokens_to_come == 0; }));
  }
  EXPECT_EQ(finished, static_cast<int>(next_id));
}

TEST(StepPlannerTest, NobodyStarvesWhateverArrives) {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    ASSERT_NO_FATAL_FAILURE(Simulate(seed));
  }
}

}  // namespace
}  // namespace shira
