#include "server/engine/admission_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <random>
#include <string_view>
#include <utility>
#include <vector>

namespace shira {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr AdmissionLimits kLimits{.max_rows = 4, .max_bypassed = 2, .aging = absl::Seconds(1)};

SequenceView Waiting(SequenceId id, int32_t priority = 0,
                     absl::Duration queued = absl::ZeroDuration()) {
  SequenceView view;
  view.id = id;
  view.priority = priority;
  view.queued = queued;
  return view;
}

Room Always(SequenceId) { return Room::kTaken; }

Room RoomIf(bool fits) { return fits ? Room::kTaken : Room::kNone; }

SequenceView Of(std::string_view client, SequenceView view) {
  view.client = client;
  return view;
}

std::vector<SequenceId> Order(std::vector<SequenceView> queued, ClientShares clients = {}) {
  std::vector<SequenceId> ids;
  const AdmissionSnapshot snapshot{.queued = std::move(queued), .clients = std::move(clients)};
  for (const SequenceView& view : AdmissionOrder(snapshot, kLimits)) {
    ids.push_back(view.id);
  }
  return ids;
}

TEST(AdmissionPolicyTest, FirstComeFirstServedWhileThereIsRoom) {
  AdmissionSnapshot snapshot{.running_rows = 2, .queued = {Waiting(3), Waiting(4), Waiting(5)}};
  EXPECT_THAT(PlanAdmissions(snapshot, kLimits, Always).admitted, ElementsAre(3, 4));
  snapshot.running_rows = 4;
  EXPECT_THAT(PlanAdmissions(snapshot, kLimits, Always).admitted, IsEmpty());
  EXPECT_THAT(PlanAdmissions({}, kLimits, Always).admitted, IsEmpty());
}

TEST(AdmissionPolicyTest, EveryAnswerOfAGenerationTakesARow) {
  AdmissionSnapshot snapshot{.running_rows = 1, .queued = {Waiting(1), Waiting(2), Waiting(3)}};
  snapshot.queued[0].rows = 3;
  EXPECT_THAT(PlanAdmissions(snapshot, kLimits, Always).admitted, ElementsAre(1));
}

TEST(AdmissionPolicyTest, HigherPriorityFirstAndTheDeadlineDecidesAmongEquals) {
  std::vector<SequenceView> queued = {Waiting(1), Waiting(2, 1), Waiting(3), Waiting(4, -1)};
  queued[2].time_left = absl::Seconds(5);
  EXPECT_THAT(Order(queued), ElementsAre(2, 3, 1, 4));
}

TEST(AdmissionPolicyTest, WaitingRaisesTheLevel) {
  EXPECT_THAT(Order({Waiting(1, 0, absl::Seconds(2)), Waiting(2, 1, absl::ZeroDuration())}),
              ElementsAre(1, 2));
  EXPECT_THAT(Order({Waiting(1, 0, absl::Milliseconds(900)), Waiting(2, 1, absl::ZeroDuration())}),
              ElementsAre(2, 1));
}

TEST(AdmissionPolicyTest, ClientsTakeTurnsWhoeverAskedFirst) {
  EXPECT_THAT(Order({Of("a", Waiting(1)), Of("a", Waiting(2)), Of("a", Waiting(3)),
                     Of("b", Waiting(4)), Of("b", Waiting(5)), Of("c", Waiting(6))}),
              ElementsAre(1, 4, 6, 2, 5, 3));
}

TEST(AdmissionPolicyTest, WhoHasFewerRowsGoesFirstAndThenWhoWasServedLongerAgo) {
  const std::vector<SequenceView> queued = {Of("a", Waiting(1)), Of("b", Waiting(2)),
                                            Of("c", Waiting(3))};
  const ClientShares shares = {{"a", {.rows = 2, .last_turn = 7, .unserved = {}}},
                               {"b", {.rows = 1, .last_turn = 9, .unserved = {}}},
                               {"c", {.rows = 1, .last_turn = 8, .unserved = {}}}};
  EXPECT_THAT(Order(queued, shares), ElementsAre(3, 2, 1));
}

TEST(AdmissionPolicyTest, WaitingBehindOnesOwnRequestsIsNoReasonToGoFirst) {
  const absl::Duration minute = absl::Minutes(1);
  const std::vector<SequenceView> queued = {Of("a", Waiting(1, 0, minute)),
                                            Of("a", Waiting(2, 0, minute)), Of("b", Waiting(3))};
  const ClientShares served = {
      {"a", {.rows = 1, .last_turn = 5, .unserved = absl::Milliseconds(10)}}};
  EXPECT_THAT(Order(queued, served), ElementsAre(3, 1, 2));
  // But waiting for others is.
  const ClientShares unserved = {{"a", {.rows = 1, .last_turn = 5, .unserved = minute}}};
  EXPECT_THAT(Order(queued, unserved), ElementsAre(1, 3, 2));
}

TEST(AdmissionPolicyTest, PriorityGoesBeforeShares) {
  const ClientShares shares = {{"a", {.rows = 3, .last_turn = 5, .unserved = {}}}};
  EXPECT_THAT(Order({Of("b", Waiting(1)), Of("a", Waiting(2, 1)), Of("a", Waiting(3, 1))}, shares),
              ElementsAre(2, 3, 1));
}

TEST(AdmissionPolicyTest, ADeadlineDecidesWithinAClientOnly) {
  std::vector<SequenceView> queued = {Of("b", Waiting(1)), Of("a", Waiting(2)),
                                      Of("a", Waiting(3))};
  queued[2].time_left = absl::Seconds(5);
  EXPECT_THAT(Order(queued), ElementsAre(1, 3, 2));
}

TEST(AdmissionPolicyTest, OneWithoutRoomIsPassedBoundedly) {
  const auto fits = [](SequenceId id) { return RoomIf(id != 1); };
  AdmissionSnapshot snapshot{.running_rows = 0,
                             .queued = {Waiting(1), Waiting(2), Waiting(3), Waiting(4)}};
  Admissions admissions = PlanAdmissions(snapshot, kLimits, fits);
  EXPECT_THAT(admissions.admitted, ElementsAre(2, 3));
  EXPECT_THAT(admissions.bypassed, ElementsAre(1, 1));
  snapshot.queued[0].bypassed = 2;
  admissions = PlanAdmissions(snapshot, kLimits, fits);
  EXPECT_THAT(admissions.admitted, IsEmpty());
  EXPECT_THAT(admissions.bypassed, IsEmpty());
}

TEST(AdmissionPolicyTest, OneThatFitsLaterIsNotAskedAboutEarlier) {
  std::vector<SequenceId> asked;
  AdmissionSnapshot snapshot{.running_rows = 3, .queued = {Waiting(1), Waiting(2)}};
  snapshot.queued[0].rows = 2;
  PlanAdmissions(snapshot, kLimits, [&](SequenceId id) {
    asked.push_back(id);
    return Room::kTaken;
  });
  EXPECT_THAT(asked, ElementsAre(2));
}

TEST(AdmissionPolicyTest, AsksAboutFewWhenNobodyFits) {
  AdmissionSnapshot snapshot;
  for (SequenceId id = 0; id < 100; ++id) snapshot.queued.push_back(Waiting(id));
  int asked = 0;
  PlanAdmissions(snapshot, kLimits, [&](SequenceId) {
    ++asked;
    return Room::kNone;
  });
  EXPECT_EQ(asked, kLimits.max_bypassed + 1);
}

TEST(AdmissionPolicyTest, OneWhoseWeightsAreBeingReadIsInNobodysWay) {
  AdmissionSnapshot snapshot;
  for (SequenceId id = 0; id < 50; ++id) snapshot.queued.push_back(Waiting(id));
  const Admissions admissions = PlanAdmissions(
      snapshot, kLimits, [](SequenceId id) { return id < 40 ? Room::kNotYet : Room::kTaken; });
  EXPECT_THAT(admissions.admitted, ElementsAre(40, 41, 42, 43));
  EXPECT_THAT(admissions.bypassed, IsEmpty());
}

// Random arrivals and sizes against a memory of 100: everybody gets in, and nobody is passed by
// more than the limit says.
TEST(AdmissionPolicyTest, NobodyStarvesWhateverArrives) {
  for (uint32_t seed = 0; seed < 50; ++seed) {
    std::mt19937 random(seed);
    const auto below = [&](int64_t n) { return static_cast<int64_t>(random() % n); };
    const AdmissionLimits limits{.max_rows = 1 + below(8), .max_bypassed = below(5)};
    struct Job {
      SequenceView view;
      int64_t memory;
      int64_t steps;
    };
    std::deque<Job> queued;
    std::vector<Job> running;
    int64_t used = 0;
    SequenceId next = 0;
    size_t ended = 0;
    for (int step = 0; step < 500 || !queued.empty() || !running.empty(); ++step) {
      ASSERT_LT(step, 100'000);
      if (step < 500 && below(3) == 0) {
        Job job{.view = Waiting(next++), .memory = 1 + below(30), .steps = 1 + below(9)};
        if (below(10) == 0) job.memory = 100;
        job.view.rows = 1 + below(limits.max_rows);
        job.view.client = std::string_view("abc").substr(below(3), 1);
        queued.push_back(job);
      }
      AdmissionSnapshot snapshot;
      for (const Job& job : running) {
        snapshot.running_rows += job.view.rows;
        snapshot.clients[job.view.client].rows += job.view.rows;
      }
      for (const Job& job : queued) snapshot.queued.push_back(job.view);
      std::map<SequenceId, Job> jobs;
      for (const Job& job : queued) jobs[job.view.id] = job;
      const Admissions admissions = PlanAdmissions(snapshot, limits, [&](SequenceId id) {
        if (used + jobs[id].memory > 100) return Room::kNone;
        used += jobs[id].memory;
        return Room::kTaken;
      });
      for (const SequenceId id : admissions.admitted) {
        running.push_back(jobs[id]);
        std::erase_if(queued, [&](const Job& job) { return job.view.id == id; });
      }
      for (const SequenceId id : admissions.bypassed) {
        for (Job& job : queued) {
          if (job.view.id != id) continue;
          ASSERT_LE(++job.view.bypassed, limits.max_bypassed);
        }
      }
      ended += std::erase_if(running, [&](Job& job) {
        if (--job.steps > 0) return false;
        used -= job.memory;
        return true;
      });
    }
    EXPECT_EQ(ended, next);
  }
}

}  // namespace
}  // namespace shira
