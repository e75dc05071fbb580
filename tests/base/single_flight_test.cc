#include "base/single_flight.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <new>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOkAndHolds;
using ::shira::testing::StatusIs;

// One flight that `others` threads join, and what each of them got.
std::vector<absl::StatusOr<int>> Join(SingleFlight<std::string, int>& flights, int others,
                                      absl::FunctionRef<absl::StatusOr<int>()> make) {
  std::vector<absl::StatusOr<int>> results(others + 1, absl::UnknownError(""));
  std::vector<std::thread> threads;
  results[0] = flights.Do("key", [&]() -> absl::StatusOr<int> {
    for (int i = 1; i <= others; ++i) {
      threads.emplace_back(
          [&, i] { results[i] = flights.Do("key", []() -> absl::StatusOr<int> { return -1; }); });
    }
    // Long enough for most to join; those that do not make a flight of their own.
    absl::SleepFor(absl::Milliseconds(20));
    return make();
  });
  for (std::thread& thread : threads) thread.join();
  return results;
}

TEST(SingleFlightTest, OneMakesWhatAllGet) {
  SingleFlight<std::string, int> flights;
  for (const absl::StatusOr<int>& result : Join(flights, 4, [] { return 7; })) {
    EXPECT_TRUE(*result == 7 || *result == -1);
  }
  EXPECT_THAT(flights.Do("key", []() -> absl::StatusOr<int> { return 8; }), IsOkAndHolds(8));
}

TEST(SingleFlightTest, AnErrorIsForEverybodyAndForNobodyAfterwards) {
  SingleFlight<std::string, int> flights;
  const auto results = Join(flights, 4, [] { return absl::DataLossError("gone"); });
  EXPECT_THAT(results[0], StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(flights.Do("key", []() -> absl::StatusOr<int> { return 8; }), IsOkAndHolds(8));
}

TEST(SingleFlightTest, AFlightThatRunsOutOfMemoryEndsToo) {
  SingleFlight<std::string, int> flights;
  const auto results = Join(flights, 4, []() -> absl::StatusOr<int> { throw std::bad_alloc(); });
  EXPECT_THAT(results[0], StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(flights.Do("key", []() -> absl::StatusOr<int> { return 8; }), IsOkAndHolds(8));
}

TEST(SingleFlightTest, TellsWhoJoinsAndWhenTheFlightHasLanded) {
  SingleFlight<std::string, int> flights;
  absl::Notification joined;
  std::thread other;
  std::vector<std::string> trace;
  const auto make = [&]() -> absl::StatusOr<int> {
    other = std::thread([&] {
      EXPECT_THAT(flights.Do(
                      "key", []() -> absl::StatusOr<int> { return -1; }, [&] { joined.Notify(); },
                      [] { ADD_FAILURE() << "not its flight"; }),
                  IsOkAndHolds(7));
    });
    joined.WaitForNotification();
    trace.push_back("made");
    return 7;
  };
  EXPECT_THAT(flights.Do(
                  "key", make, [] { ADD_FAILURE() << "its own flight"; },
                  [&] { trace.push_back("landed"); }),
              IsOkAndHolds(7));
  other.join();
  EXPECT_THAT(trace, ::testing::ElementsAre("made", "landed"));
  EXPECT_THAT(flights.Do(
                  "key", []() -> absl::StatusOr<int> { return absl::DataLossError("gone"); }, [] {},
                  [&] { trace.push_back("landed"); }),
              StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_EQ(trace.size(), 3);
}

TEST(SingleFlightTest, OtherKeysDoNotWait) {
  SingleFlight<std::string, int> flights;
  const auto inner = [&]() -> absl::StatusOr<int> {
    return flights.Do("other", []() -> absl::StatusOr<int> { return 5; });
  };
  EXPECT_THAT(flights.Do("key", inner), IsOkAndHolds(5));
}

}  // namespace
}  // namespace shira
