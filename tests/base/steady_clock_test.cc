#include "base/steady_clock.h"

#include <gtest/gtest.h>

#include "absl/time/clock.h"

namespace shira {
namespace {

TEST(SteadyClockTest, NeverGoesBack) {
  absl::Time last = SteadyNow();
  for (int i = 0; i < 10000; ++i) {
    const absl::Time now = SteadyNow();
    ASSERT_GE(now, last);
    last = now;
  }
}

// The clock of the machine that runs the tests may be slewed, but hardly set.
TEST(SteadyClockTest, StartsAtTheWallClocksTime) {
  EXPECT_LT(absl::AbsDuration(SteadyNow() - absl::Now()), absl::Minutes(1));
}

}  // namespace
}  // namespace shira
