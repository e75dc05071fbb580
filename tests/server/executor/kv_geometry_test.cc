#include "server/executor/kv_geometry.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace shira {
namespace {

KvGeometry Windowed() {
  return {.page_tokens = 4,
          .page_bytes = 1,
          .pages = 100,
          .chunk_tokens = 8,
          .block_tokens = 8,
          .windows = {0, 10}};
}

TEST(KvGeometryTest, AWindowIsKeptFromItsBlockOnAndAPageBefore) {
  const KvGeometry kv = Windowed();
  EXPECT_EQ(kv.FirstSeen(0, 1000), 0);
  EXPECT_EQ(kv.FirstSeen(1, 9), 0);
  EXPECT_EQ(kv.FirstSeen(1, 16), 0);  // from position 7 on
  EXPECT_EQ(kv.FirstSeen(1, 17), 2);  // from position 8 on
  EXPECT_EQ(kv.FirstSeen(1, 24), 2);
  EXPECT_EQ(kv.FirstSeen(1, 25), 4);
  EXPECT_EQ(kv.FirstKept(1, 0), 0);
  EXPECT_EQ(kv.FirstKept(1, 23), 0);  // a fork of 16 tokens would see position 7
  EXPECT_EQ(kv.FirstKept(1, 24), 2);  // one of 20 tokens sees position 11
}

TEST(KvGeometryTest, ASequenceTakesItsLengthInOneGroupAndItsWindowInTheOther) {
  const KvGeometry kv = Windowed();
  EXPECT_EQ(kv.MostKept(1), 8);  // window, chunk, block and two pages, but for 3 tokens
  EXPECT_EQ(kv.PagesOf({.tokens = 30}, 0), 8 + 8);
  EXPECT_EQ(kv.PagesOf({.tokens = 33}, 0), 9 + 8);
  EXPECT_EQ(kv.PagesOf({.tokens = 200}, 0), 50 + 8);
  EXPECT_EQ(kv.PagesOf({.tokens = 200}, 45), 5 + 5);
}

TEST(KvGeometryTest, WhatForksShareCannotBeUsedAgain) {
  const KvGeometry kv = Windowed();
  // 100 tokens are 25 pages, of which a fork shares those from 20 on: 5, and all 8 after them.
  EXPECT_EQ(kv.FirstKept(1, 100), 20);
  EXPECT_EQ(kv.MostOwn(1, {.tokens = 200, .fork_at = 100}, 0), 5 + 8);
  EXPECT_EQ(kv.MostOwn(1, {.tokens = 200, .fork_at = 100}, 23), 2 + 8);
  EXPECT_EQ(kv.MostOwn(1, {.tokens = 108, .fork_at = 100}, 0), 8);  // 5 and 2, but the prompt: 8
}

TEST(KvGeometryTest, TheLongestSequenceIsWhatFitsAllGroups) {
  KvGeometry kv = Windowed();
  EXPECT_EQ(kv.LongestSequence(10'000), (100 - 8) * 4);
  EXPECT_EQ(kv.LongestSequence(100), 100);
  kv.windows = {0, 0};
  EXPECT_EQ(kv.LongestSequence(10'000), 100 / 2 * 4);
  kv.windows = {10, 10};
  EXPECT_EQ(kv.LongestSequence(10'000), 10'000);
  kv.pages = 1;
  EXPECT_EQ(kv.LongestSequence(10'000), 0);
}

TEST(KvGeometryTest, NoSequenceKeepsMoreThanIsReserved) {
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {
    KvGeometry kv;
    kv.page_tokens = 1 + random() % 9;
    kv.block_tokens = kv.page_tokens * (1 + random() % 3);
    kv.chunk_tokens = 1 + random() % 30;
    kv.windows = {static_cast<int64_t>(1 + random() % 60)};
    int64_t most = 0;
    for (int64_t length = 0; length < 400; ++length) {
      most = std::max(most, kv.PagesFor(length + kv.chunk_tokens) - kv.FirstKept(0, length));
      // What is kept is enough for what comes, and for forks that begin with the whole pages.
      const int64_t whole = length / kv.page_tokens * kv.page_tokens;
      EXPECT_LE(kv.FirstKept(0, length), kv.FirstSeen(0, whole));
      EXPECT_LE(kv.FirstKept(0, length), kv.FirstSeen(0, whole - kv.page_tokens));
    }
    EXPECT_LE(most, kv.MostKept(0));
    EXPECT_GE(most, kv.MostKept(0) - 1);
  }
}

}  // namespace
}  // namespace shira
