#include "client/cancellation.h"

#include <gtest/gtest.h>

#include <thread>

#include "absl/time/time.h"

namespace shira {
namespace {

TEST(CancellationTest, SleepsTheWholeTimeWhenNobodyCancels) {
  const Cancellation cancellation;
  EXPECT_FALSE(cancellation.SleepFor(absl::Milliseconds(1)));
  EXPECT_FALSE(cancellation.cancelled());
}

TEST(CancellationTest, WakesASleeper) {
  Cancellation cancellation;
  std::thread other([&] { cancellation.Cancel(); });
  EXPECT_TRUE(cancellation.SleepFor(absl::InfiniteDuration()));
  other.join();
  EXPECT_TRUE(cancellation.cancelled());
}

TEST(CancellationTest, StaysCancelled) {
  Cancellation cancellation;
  cancellation.Cancel();
  cancellation.Cancel();
  EXPECT_TRUE(cancellation.SleepFor(absl::InfiniteDuration()));
}

}  // namespace
}  // namespace shira
