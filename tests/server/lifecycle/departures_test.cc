#include "server/lifecycle/departures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "absl/synchronization/notification.h"

namespace shira {
namespace {

using ::testing::ElementsAre;

const Sha256Digest kA = Sha256::Of("a");
const Sha256Digest kB = Sha256::Of("b");

TEST(DeparturesTest, WhatWasAddedLeavesInItsOrder) {
  std::vector<Sha256Digest> left;
  int idle = 0;
  Departures departures([&](const Sha256Digest& adapter) { left.push_back(adapter); },
                        [&] { ++idle; });
  departures.Add(kA);
  departures.Add(kB);
  departures.Add(kA);
  ASSERT_TRUE(departures.Await(SteadyTime::InfiniteFuture()));
  EXPECT_THAT(left, ElementsAre(kA, kB, kA));
  EXPECT_GE(idle, 1);
}

TEST(DeparturesTest, AddingWaitsForNothing) {
  absl::Notification go_on;
  Departures departures([&](const Sha256Digest&) { go_on.WaitForNotification(); }, [] {});
  departures.Add(kA);
  departures.Add(kB);
  EXPECT_FALSE(departures.Await(SteadyNow() + absl::Milliseconds(1)));
  EXPECT_FALSE(departures.Await(SteadyTime::InfinitePast()));
  go_on.Notify();
  EXPECT_TRUE(departures.Await(SteadyTime::InfiniteFuture()));
}

TEST(DeparturesTest, OneThatLeavesMayAddAnother) {
  std::vector<Sha256Digest> left;
  Departures* added_to = nullptr;
  Departures departures(
      [&](const Sha256Digest& adapter) {
        left.push_back(adapter);
        if (adapter == kA) added_to->Add(kB);
      },
      [] {});
  added_to = &departures;
  departures.Add(kA);
  EXPECT_TRUE(departures.Await(SteadyTime::InfiniteFuture()));
  EXPECT_TRUE(departures.Await(SteadyTime::InfiniteFuture()));
  EXPECT_THAT(left, ElementsAre(kA, kB));
}

TEST(DeparturesTest, AfterStoppingNothingLeaves) {
  int left = 0;
  Departures departures([&](const Sha256Digest&) { ++left; }, [] {});
  departures.Stop();
  departures.Add(kA);
  EXPECT_TRUE(departures.Await(SteadyTime::InfiniteFuture()));  // for nothing
  departures.Stop();
  EXPECT_EQ(left, 0);
}

}  // namespace
}  // namespace shira
