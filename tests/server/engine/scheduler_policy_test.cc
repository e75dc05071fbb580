#include "server/engine/scheduler_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <deque>
#include <random>
#include <string>
#include <vector>

namespace shira {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const Sha256Digest& State(int number) {
  static const auto* const kStates = [] {
    auto* states = new std::array<Sha256Digest, 16>;
    for (size_t i = 0; i < states->size(); ++i) (*states)[i] = Sha256::Of(std::to_string(i));
    return states;
  }();
  return kStates->at(number);
}

SequenceView Decoding(SequenceId id, int state, absl::Duration waited = absl::ZeroDuration()) {
  return {.id = id, .state = State(state), .prefill = false, .pending_tokens = 1, .waited = waited};
}

SequenceView Prefilling(SequenceId id, int state, int64_t tokens) {
  return {.id = id,
          .state = State(state),
          .prefill = true,
          .pending_tokens = tokens,
          .waited = absl::ZeroDuration()};
}

std::vector<std::pair<SequenceId, int64_t>> Rows(const StepPlan& plan) {
  std::vector<std::pair<SequenceId, int64_t>> rows;
  for (const StepRow& row : plan.rows) rows.push_back({row.sequence, row.tokens});
  return rows;
}

using Row = std::pair<SequenceId, int64_t>;

constexpr SchedulerLimits kLimits{
    .max_running = 4, .prefill_chunk = 8, .max_state_wait = absl::Milliseconds(200)};

TEST(SchedulerPolicyTest, AdmitsInTheOrderOfArrivalWhileThereIsRoom) {
  SchedulerSnapshot snapshot;
  snapshot.running = {Decoding(1, 0), Decoding(2, 0)};
  snapshot.queued = {Decoding(3, 1), Decoding(4, 0), Decoding(5, 0)};
  EXPECT_THAT(PlanAdmissions(snapshot, kLimits), ElementsAre(3, 4));
  snapshot.running = {Decoding(1, 0), Decoding(2, 0), Decoding(6, 0), Decoding(7, 0)};
  EXPECT_THAT(PlanAdmissions(snapshot, kLimits), IsEmpty());
  snapshot.queued.clear();
  snapshot.running.clear();
  EXPECT_THAT(PlanAdmissions(snapshot, kLimits), IsEmpty());
}

TEST(SchedulerPolicyTest, WithNothingRunningThereIsNoStep) {
  const StepPlan plan = PlanStep({.resident = State(0), .running = {}, .queued = {}}, kLimits);
  EXPECT_THAT(plan.rows, IsEmpty());
  EXPECT_EQ(plan.switch_to, std::nullopt);
}

TEST(SchedulerPolicyTest, MixesPrefillChunksAndDecodingOfTheResidentState) {
  const StepPlan plan = PlanStep(
      {.resident = State(0),
       .running = {Decoding(1, 0), Prefilling(2, 0, 20), Decoding(3, 1), Prefilling(4, 0, 3)},
       .queued = {}},
      kLimits);
  EXPECT_EQ(plan.switch_to, std::nullopt);
  EXPECT_THAT(Rows(plan), ElementsAre(Row{1, 1}, Row{2, 8}, Row{4, 3}));
}

TEST(SchedulerPolicyTest, SwitchesAtOnceWhenNobodyWantsTheResidentState) {
  const StepPlan plan =
      PlanStep({.resident = State(9),
                .running = {Decoding(1, 0, absl::Milliseconds(1)),
                            Decoding(2, 1, absl::Milliseconds(5)), Decoding(3, 1)},
                .queued = {}},
               kLimits);
  EXPECT_EQ(plan.switch_to, State(1));
  EXPECT_THAT(Rows(plan), ElementsAre(Row{2, 1}, Row{3, 1}));
}

TEST(SchedulerPolicyTest, StaysUntilSomebodyHasWaitedForTheLimit) {
  SchedulerSnapshot snapshot{.resident = State(0),
                             .running = {Decoding(1, 0), Decoding(2, 1, absl::Milliseconds(199))},
                             .queued = {}};
  EXPECT_EQ(PlanStep(snapshot, kLimits).switch_to, std::nullopt);
  snapshot.running[1].waited = absl::Milliseconds(200);
  const StepPlan plan = PlanStep(snapshot, kLimits);
  EXPECT_EQ(plan.switch_to, State(1));
  EXPECT_THAT(Rows(plan), ElementsAre(Row{2, 1}));
}

TEST(SchedulerPolicyTest, TheOneWhoWaitedLongestIsNextAndTiesGoToTheFirst) {
  SchedulerSnapshot snapshot{
      .resident = State(0),
      .running = {Decoding(1, 0), Decoding(2, 1, absl::Milliseconds(300)),
                  Decoding(3, 2, absl::Milliseconds(400)), Decoding(4, 3, absl::Milliseconds(400))},
      .queued = {}};
  EXPECT_EQ(PlanStep(snapshot, kLimits).switch_to, State(2));
}

TEST(SchedulerPolicyTest, WaitingInTheQueueDoesNotMoveTheWeights) {
  const StepPlan plan = PlanStep({.resident = State(0),
                                  .running = {Decoding(1, 0)},
                                  .queued = {Decoding(2, 1, absl::Seconds(9))}},
                                 kLimits);
  EXPECT_EQ(plan.switch_to, std::nullopt);
}

// ---- No starvation ------------------------------------------------------------------------------

// One generation of the simulation below.
struct Simulated {
  SequenceId id;
  int state;
  int64_t prompt;
  int64_t decode_steps;
  absl::Duration waiting_since;
};

// Runs the policy against random arrivals on a simulated clock, and checks every plan and every
// wait.
void Simulate(uint32_t seed) {
  std::mt19937 random(seed);
  const auto below = [&](int64_t n) { return static_cast<int64_t>(random() % n); };
  const SchedulerLimits limits{.max_running = 1 + below(8),
                               .prefill_chunk = 1 + below(16),
                               .max_state_wait = absl::Milliseconds(below(300))};
  const int states = 1 + static_cast<int>(below(10));
  constexpr absl::Duration kStep = absl::Milliseconds(10);
  constexpr absl::Duration kSwitch = absl::Milliseconds(3);
  // Its own state's turn may come after a step of every other one that runs; the step that was
  // under way when the limit was reached is one more.
  const absl::Duration bound = limits.max_state_wait + limits.max_running * (kStep + kSwitch);

  absl::Duration now;
  int resident = 0;
  std::deque<Simulated> queued;
  std::deque<Simulated> running;
  SequenceId next_id = 0;
  SequenceId next_admitted = 0;
  int finished = 0;
  const auto view = [&](const Simulated& s) -> SequenceView {
    return {.id = s.id,
            .state = State(s.state),
            .prefill = s.prompt > 0,
            .pending_tokens = std::max<int64_t>(s.prompt, 1),
            .waited = now - s.waiting_since};
  };
  for (int step = 0; step < 400 || !queued.empty() || !running.empty(); ++step) {
    ASSERT_LT(step, 100'000) << "seed " << seed;
    // Bursts, so that both an overfull and an idle engine occur; a rare state among common ones.
    for (int64_t n = step < 400 && queued.size() < 30 && below(6) == 0 ? below(6) : 0; n > 0; --n) {
      const int state = below(4) == 0 ? static_cast<int>(below(states)) : 0;
      queued.push_back({next_id++, state, 1 + below(40), below(30), now});
    }
    SchedulerSnapshot snapshot{.resident = State(resident), .running = {}, .queued = {}};
    for (const Simulated& s : queued) snapshot.queued.push_back(view(s));
    for (const Simulated& s : running) snapshot.running.push_back(view(s));
    for (const SequenceId id : PlanAdmissions(snapshot, limits)) {
      ASSERT_EQ(id, next_admitted++) << "not in the order of arrival; seed " << seed;
      running.push_back(queued.front());
      queued.pop_front();
      running.back().waiting_since = now;
    }
    ASSERT_LE(static_cast<int64_t>(running.size()), limits.max_running);
    ASSERT_TRUE(queued.empty() || static_cast<int64_t>(running.size()) == limits.max_running);

    snapshot.running.clear();
    for (const Simulated& s : running) snapshot.running.push_back(view(s));
    const StepPlan plan = PlanStep(snapshot, limits);
    ASSERT_EQ(plan.rows.empty(), running.empty());
    if (plan.switch_to.has_value()) {
      ASSERT_NE(*plan.switch_to, State(resident));
      for (int s = 0; s < states; ++s) {
        if (State(s) == *plan.switch_to) resident = s;
      }
      now += kSwitch;
    }
    now += kStep;
    size_t row = 0;
    for (auto it = running.begin(); it != running.end();) {
      if (it->state != resident) {
        ++it;
        continue;
      }
      ASSERT_LT(row, plan.rows.size());
      ASSERT_EQ(plan.rows[row].sequence, it->id) << "seed " << seed;
      ASSERT_EQ(plan.rows[row].tokens, std::clamp<int64_t>(it->prompt, 1, limits.prefill_chunk));
      ++row;
      ASSERT_LE(now - it->waiting_since, bound) << "seed " << seed;
      it->waiting_since = now;
      if (it->prompt > 0) {
        it->prompt -= std::min(it->prompt, limits.prefill_chunk);
        ++it;
      } else if (it->decode_steps-- > 0) {
        ++it;
      } else {
        it = running.erase(it);
        ++finished;
      }
    }
    ASSERT_EQ(row, plan.rows.size());
  }
  EXPECT_EQ(finished, static_cast<int>(next_id));
}

TEST(SchedulerPolicyTest, NobodyStarvesWhateverArrives) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    ASSERT_NO_FATAL_FAILURE(Simulate(seed));
  }
}

}  // namespace
}  // namespace shira
