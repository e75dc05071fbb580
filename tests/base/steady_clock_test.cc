#include "base/steady_clock.h"

#include <gtest/gtest.h>

namespace shira {
namespace {

// Times of two clocks have no difference: what mixes them does not compile.
template <typename A, typename B>
concept HasDifference = requires(A a, B b) {
  a - b;
};
static_assert(HasDifference<SteadyTime, SteadyTime>);
static_assert(!HasDifference<SteadyTime, absl::Time>);
static_assert(!HasDifference<absl::Time, SteadyTime>);
template <typename A, typename B>
concept IsComparable = requires(A a, B b) {
  a < b;
};
static_assert(IsComparable<SteadyTime, SteadyTime>);
static_assert(!IsComparable<SteadyTime, absl::Time>);

TEST(SteadyClockTest, NeverGoesBack) {
  SteadyTime last = SteadyNow();
  for (int i = 0; i < 10000; ++i) {
    const SteadyTime now = SteadyNow();
    ASSERT_GE(now, last);
    last = now;
  }
}

TEST(SteadyClockTest, DifferencesAreDurations) {
  const SteadyTime start = SteadyTime::FromClock(absl::Hours(5));
  SteadyTime time = start + absl::Seconds(3);
  EXPECT_EQ(time - start, absl::Seconds(3));
  EXPECT_EQ(start - time, absl::Seconds(-3));
  EXPECT_GT(time, start);
  EXPECT_EQ(time - absl::Seconds(3), start);
  time += absl::Seconds(1);
  time -= absl::Seconds(4);
  EXPECT_EQ(time, start);
}

TEST(SteadyClockTest, InfiniteTimesAreBeyondAllOthersAndStayThere) {
  EXPECT_EQ(SteadyTime(), SteadyTime::InfinitePast());
  EXPECT_LT(SteadyTime::InfinitePast(), SteadyNow());
  EXPECT_LT(SteadyNow() + absl::Hours(1'000'000), SteadyTime::InfiniteFuture());
  EXPECT_EQ(SteadyTime::InfiniteFuture() - absl::Hours(1), SteadyTime::InfiniteFuture());
  EXPECT_EQ(SteadyTime::InfiniteFuture() - SteadyNow(), absl::InfiniteDuration());
  EXPECT_EQ(SteadyNow() - SteadyTime::InfinitePast(), absl::InfiniteDuration());
}

}  // namespace
}  // namespace shira
