#include "base/thread_team.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <ctime>
#include <thread>
#include <vector>

namespace shira {
namespace {

// Runs a loop over `count` plain integers and says whether each was visited once.
bool VisitsEachOnce(ThreadTeam& team, int64_t count) {
  std::vector<int> visits(count, 0);  // not atomic: For() has to order the writes before its return
  team.For(count, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) ++visits[i];
  });
  return std::all_of(visits.begin(), visits.end(), [](int visit) { return visit == 1; });
}

class ThreadTeamTest : public ::testing::TestWithParam<int> {};

TEST_P(ThreadTeamTest, CoversEveryLoopOnce) {
  ThreadTeam team(GetParam());
  EXPECT_EQ(team.threads(), GetParam());
  for (const int64_t count : {0, 1, 2, 3, 5, 8, 64, 1000}) {
    EXPECT_TRUE(VisitsEachOnce(team, count)) << count;
  }
}

TEST_P(ThreadTeamTest, CoversLoopsThatFollowEachOtherAtOnce) {
  ThreadTeam team(GetParam());
  for (int i = 0; i < 20'000; ++i) ASSERT_TRUE(VisitsEachOnce(team, 1 + i % 17)) << i;
}

TEST_P(ThreadTeamTest, WakesFromSleep) {
  ThreadTeam team(GetParam());
  for (int i = 0; i < 20; ++i) {
    // About as long as the workers look out, and much longer.
    std::this_thread::sleep_for(std::chrono::microseconds(i % 2 == 0 ? 100 : 5000));
    ASSERT_TRUE(VisitsEachOnce(team, 100));
  }
}

TEST_P(ThreadTeamTest, LoopsWithinLoopsAndFromOtherThreadsRunToo) {
  ThreadTeam team(GetParam());
  std::atomic<int64_t> visits{0};
  const auto run = [&] {
    for (int i = 0; i < 200; ++i) {
      team.For(10, [&](int64_t begin, int64_t end) {
        for (int64_t j = begin; j < end; ++j) {
          team.For(10, [&](int64_t first, int64_t last) { visits += last - first; });
        }
      });
    }
  };
  std::thread other(run);
  run();
  other.join();
  EXPECT_EQ(visits, 2 * 200 * 10 * 10);
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadTeamTest, ::testing::Values(1, 2, 3, 8));

TEST(ThreadTeamTest, WorkersTakeTheirShare) {
  ThreadTeam team(2);
  std::atomic<bool> other_began{false};
  const std::thread::id caller = std::this_thread::get_id();
  // The caller's first part ends when the other thread has begun one: it cannot do all alone.
  team.For(2, [&](int64_t, int64_t) {
    if (std::this_thread::get_id() != caller) {
      other_began = true;
    } else {
      while (!other_began) std::this_thread::yield();
    }
  });
  EXPECT_TRUE(other_began);
}

TEST(ThreadTeamTest, ATeamWithoutWorkTakesNoProcessorTime) {
  ThreadTeam team(4);
  ASSERT_TRUE(VisitsEachOnce(team, 100));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const std::clock_t before = std::clock();  // of all threads
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_LT(std::clock() - before, CLOCKS_PER_SEC / 20);
}

}  // namespace
}  // namespace shira
