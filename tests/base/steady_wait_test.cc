#include "base/steady_wait.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "base/steady_clock.h"

namespace shira {
namespace {

TEST(SteadyWaitTest, EndsWhenTheConditionHolds) {
  absl::Mutex mutex;
  bool done = false;
  std::thread other([&] {
    absl::SleepFor(absl::Milliseconds(20));
    absl::MutexLock lock(&mutex);
    done = true;
  });
  const SteadyTime start = SteadyNow();
  {
    absl::MutexLock lock(&mutex);
    EXPECT_TRUE(AwaitUntil(mutex, absl::Condition(&done), start + absl::Hours(1)));
    EXPECT_TRUE(AwaitUntil(mutex, absl::Condition(&done), SteadyTime::InfiniteFuture()));
  }
  EXPECT_LT(SteadyNow() - start, absl::Minutes(1));
  other.join();
}

TEST(SteadyWaitTest, EndsAtTheDeadlineAndNotBefore) {
  absl::Mutex mutex;
  bool done = false;
  absl::MutexLock lock(&mutex);
  const SteadyTime deadline = SteadyNow() + absl::Milliseconds(30);
  EXPECT_FALSE(AwaitUntil(mutex, absl::Condition(&done), deadline));
  EXPECT_GE(SteadyNow(), deadline);
}

TEST(SteadyWaitTest, ADeadlineThatIsOverEndsItAtOnce) {
  absl::Mutex mutex;
  bool done = false;
  absl::MutexLock lock(&mutex);
  EXPECT_FALSE(AwaitUntil(mutex, absl::Condition(&done), SteadyTime::InfinitePast()));
  done = true;
  EXPECT_TRUE(AwaitUntil(mutex, absl::Condition(&done), SteadyTime::InfinitePast()));
}

TEST(SteadyWaitTest, ALaterDeadlineDoesNotDelayAnEarlierOne) {
  absl::Mutex patient_mutex;
  bool done = false;
  std::thread patient([&] {
    absl::MutexLock lock(&patient_mutex);
    AwaitUntil(patient_mutex, absl::Condition(&done), SteadyNow() + absl::Hours(1));
  });
  absl::SleepFor(absl::Milliseconds(20));  // most likely it is asleep by now
  absl::Mutex mutex;
  bool never = false;
  const SteadyTime start = SteadyNow();
  {
    absl::MutexLock lock(&mutex);
    EXPECT_FALSE(AwaitUntil(mutex, absl::Condition(&never), start + absl::Milliseconds(10)));
  }
  EXPECT_LT(SteadyNow() - start, absl::Minutes(1));
  {
    absl::MutexLock lock(&patient_mutex);
    done = true;
  }
  patient.join();
}

// Mutexes that are gone right after a wait which ends just when its deadline comes.
TEST(SteadyWaitTest, ManyWaitsAtATimeLeaveNothingBehind) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([t] {
      for (int i = 0; i < 100; ++i) {
        auto mutex = std::make_unique<absl::Mutex>();
        bool done = false;
        const absl::Duration time = absl::Microseconds(100 * ((i * 7 + t) % 30));
        std::thread other([&] {
          absl::SleepFor(time);
          absl::MutexLock lock(mutex.get());
          done = true;
        });
        {
          absl::MutexLock lock(mutex.get());
          const bool in_time = AwaitUntil(*mutex, absl::Condition(&done), SteadyNow() + time);
          EXPECT_EQ(in_time, done);
        }
        other.join();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace shira
