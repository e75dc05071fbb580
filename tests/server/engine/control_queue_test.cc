#include "server/engine/control_queue.h"

#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "base/steady_clock.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;

class ControlQueueTest : public ::testing::Test {
 protected:
  // As the engine does between two steps, once something is there.
  void RunWhenQueued() {
    {
      absl::MutexLock lock(&mutex_);
      const auto queued = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return !controls_.empty(); };
      mutex_.Await(absl::Condition(&queued));
    }
    controls_.RunAll();
  }

  absl::Mutex mutex_;
  ControlQueue controls_{mutex_};
};

TEST_F(ControlQueueTest, RunsOnTheOtherThreadAndReturnsWhenItIsDone) {
  std::thread::id ran_on;
  std::thread engine([&] { RunWhenQueued(); });
  EXPECT_THAT(
      controls_.Run([&] { ran_on = std::this_thread::get_id(); }, SteadyTime::InfiniteFuture()),
      IsOk());
  EXPECT_EQ(ran_on, engine.get_id());
  engine.join();
}

TEST_F(ControlQueueTest, WhatTimedOutNeverRuns) {
  bool ran = false;
  EXPECT_THAT(controls_.Run([&] { ran = true; }, SteadyNow() + absl::Milliseconds(5)),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
  controls_.RunAll();
  EXPECT_FALSE(ran);
}

TEST_F(ControlQueueTest, WhatHasBegunIsWaitedForBeyondTheDeadline) {
  // Until the engine's thread is in time to begin, however slow the machine is.
  for (absl::Duration timeout = absl::Milliseconds(10);; timeout *= 2) {
    std::thread engine([&] { RunWhenQueued(); });
    const SteadyTime deadline = SteadyNow() + timeout;
    bool ended = false;
    const absl::Status status = controls_.Run(
        [&] {
          absl::SleepFor(deadline + absl::Milliseconds(10) - SteadyNow());
          ended = true;
        },
        deadline);
    EXPECT_EQ(ended, status.ok());
    if (!status.ok()) controls_.Post([] {});  // for the thread, which still waits
    engine.join();
    if (status.ok()) break;
  }
}

TEST_F(ControlQueueTest, PostedWorkRunsInOrder) {
  std::vector<int> order;
  controls_.Post([&] { order.push_back(1); });
  controls_.Post([&] { order.push_back(2); });
  controls_.RunAll();
  EXPECT_THAT(order, ::testing::ElementsAre(1, 2));
}

TEST_F(ControlQueueTest, ClosingRefusesTheQueuedAndTheLater) {
  std::thread closer([&] {
    {
      absl::MutexLock lock(&mutex_);
      const auto queued = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return !controls_.empty(); };
      mutex_.Await(absl::Condition(&queued));
    }
    controls_.Close();
  });
  bool ran = false;
  EXPECT_THAT(controls_.Run([&] { ran = true; }, SteadyTime::InfiniteFuture()),
              StatusIs(absl::StatusCode::kUnavailable));
  closer.join();
  EXPECT_THAT(controls_.Run([&] { ran = true; }, SteadyTime::InfiniteFuture()),
              StatusIs(absl::StatusCode::kUnavailable));
  controls_.Post([&] { ran = true; });
  controls_.RunAll();
  EXPECT_FALSE(ran);
}

}  // namespace
}  // namespace shira
