#include "server/network/message_memory.h"

#include <gtest/gtest.h>

namespace shira {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

TEST(MessageMemoryTest, OneConnectionHasAQuarterOfIt) {
  MessageMemory memory({.limit_bytes = 64 * kMiB});
  const int connections[2] = {};
  EXPECT_TRUE(memory.Admit(&connections[0], 10 * kMiB));
  EXPECT_TRUE(memory.Admit(&connections[0], 6 * kMiB));
  EXPECT_FALSE(memory.Admit(&connections[0], 1));
  EXPECT_TRUE(memory.Admit(&connections[1], 16 * kMiB));
  EXPECT_EQ(memory.stats().held_bytes, 32 * kMiB);
  EXPECT_EQ(memory.stats().refused, 1);
}

TEST(MessageMemoryTest, LargeMessagesLeaveRoomForSmallOnes) {
  MessageMemory memory({.limit_bytes = 64 * kMiB});
  const int connections[4] = {};
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(memory.Admit(&connections[i], 16 * kMiB));
  EXPECT_FALSE(memory.Admit(&connections[3], MessageMemory::kSmallBytes + 1));
  for (int64_t bytes = 0; bytes < 16 * kMiB; bytes += MessageMemory::kSmallBytes) {
    EXPECT_TRUE(memory.Admit(&connections[3], MessageMemory::kSmallBytes));
  }
  EXPECT_EQ(memory.stats().held_bytes, 64 * kMiB);
  const int another = 0;
  EXPECT_FALSE(memory.Admit(&another, 1));
}

TEST(MessageMemoryTest, WhatIsReleasedIsThereAgain) {
  MessageMemory memory({.limit_bytes = 64 * kMiB});
  const int connection = 0;
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(memory.Admit(&connection, 16 * kMiB));
    memory.Release(&connection, 16 * kMiB);
  }
  EXPECT_EQ(memory.stats().held_bytes, 0);
  EXPECT_EQ(memory.stats().refused, 0);
}

TEST(MessageMemoryTest, AnEmptyMessageNeedsNoneAndIsNotReleased) {
  MessageMemory memory({.limit_bytes = 0});
  const int connection = 0;
  EXPECT_TRUE(memory.Admit(&connection, 0));
  EXPECT_FALSE(memory.Admit(&connection, 1));
}

}  // namespace
}  // namespace shira
