#include "base/work_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "absl/synchronization/notification.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::testing::HasSubstr;

TEST(WorkQueueTest, DoesEverythingBeforeItIsGone) {
  std::atomic<int> done = 0;
  {
    WorkQueue queue({.name = "a test", .threads = 3});
    for (int i = 0; i < 10; ++i) EXPECT_THAT(queue.Add("a", [&] { ++done; }), IsOk());
  }
  EXPECT_EQ(done, 10);
}

TEST(WorkQueueTest, OwnersTakeTurns) {
  std::string order;  // written by the one thread
  absl::Notification go;
  {
    WorkQueue queue({.name = "a test", .threads = 1});
    EXPECT_THAT(queue.Add("x", [&] { go.WaitForNotification(); }), IsOk());
    for (const char* owner : {"a", "a", "a", "b", "b", "c"}) {
      EXPECT_THAT(queue.Add(owner, [&order, owner] { order += owner; }), IsOk());
    }
    go.Notify();
  }
  EXPECT_EQ(order, "abcaba");
}

TEST(WorkQueueTest, OneOwnerLeavesAThreadToOthers) {
  absl::Notification go;
  absl::Notification other;
  WorkQueue queue({.name = "a test", .threads = 2});
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(queue.Add("a", [&] { go.WaitForNotification(); }), IsOk());
  }
  EXPECT_THAT(queue.Add("b", [&] { other.Notify(); }), IsOk());
  EXPECT_TRUE(other.WaitForNotificationWithTimeout(absl::Minutes(1)));
  go.Notify();
}

TEST(WorkQueueTest, BoundsWhatWaits) {
  absl::Notification begun;
  absl::Notification go;
  WorkQueue queue({.name = "a test", .threads = 1, .max_waiting = 3, .max_waiting_per_owner = 2});
  const auto wait = [&] { go.WaitForNotification(); };
  EXPECT_THAT(queue.Add("a",
                        [&] {
                          begun.Notify();
                          go.WaitForNotification();
                        }),
              IsOk());
  begun.WaitForNotification();
  EXPECT_THAT(queue.Add("a", wait), IsOk());
  EXPECT_THAT(queue.Add("a", wait), IsOk());
  EXPECT_THAT(queue.Add("a", wait),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("wait for a test")));
  EXPECT_THAT(queue.Add("b", wait), IsOk());
  EXPECT_THAT(queue.Add("c", wait), StatusIs(absl::StatusCode::kResourceExhausted));
  go.Notify();
}

TEST(WorkQueueTest, LetsGoOfWhatIsDone) {
  WorkQueue queue({.name = "a test", .threads = 1});
  auto held = std::make_shared<int>(1);
  const std::weak_ptr<int> watch = held;
  absl::Notification next;
  EXPECT_THAT(queue.Add("a", [held = std::move(held)] {}), IsOk());
  EXPECT_THAT(queue.Add("a", [&] { next.Notify(); }), IsOk());
  next.WaitForNotification();
  EXPECT_TRUE(watch.expired());
}

}  // namespace
}  // namespace shira
