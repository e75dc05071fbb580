#include "server/lifecycle/load_slots.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <vector>

#include "absl/time/clock.h"

namespace shira {
namespace {

TEST(LoadSlotsTest, NoMoreAtATimeThanThereAreSlots) {
  LoadSlots slots(2);
  std::atomic<int> inside = 0;
  std::atomic<int> most = 0;
  ForEachInThreads(40, 8, [&](int64_t) {
    const LoadSlots::Slot slot(slots);
    const int now = ++inside;
    for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
    }
    absl::SleepFor(absl::Milliseconds(1));
    --inside;
  });
  EXPECT_EQ(inside, 0);
  EXPECT_EQ(most, 2);
}

TEST(ForEachInThreadsTest, CallsEachIndexOnce) {
  for (const int64_t count : {0, 1, 3, 100}) {
    std::vector<std::atomic<int>> calls(static_cast<size_t>(count));
    ForEachInThreads(count, 7, [&](int64_t i) { ++calls[static_cast<size_t>(i)]; });
    EXPECT_TRUE(std::all_of(calls.begin(), calls.end(), [](const auto& n) { return n == 1; }))
        << count;
  }
}

}  // namespace
}  // namespace shira
