#include "server/engine/engine_stats.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "server/engine/stats_book.h"

namespace shira {
namespace {

TEST(EngineStatsTest, BoundsOfDurationsAscend) {
  EXPECT_TRUE(std::is_sorted(kEngineSeconds.begin(), kEngineSeconds.end()));
}

TEST(StatsBookTest, KnowsWhichAdaptersWaitAndRun) {
  const StateHandle tone({}, {}, {{"tone", 1, {}, 1.0}}, nullptr);
  const StateHandle both({}, {}, {{"tone", 1, {}, 1.0}, {"terse", 1, {}, 1.0}}, nullptr);
  const StateHandle base;
  StatsBook book;
  for (const StateHandle* state : {&tone, &both, &base}) book.BookQueued(*state);
  EXPECT_EQ(book.Read().queued, 3);
  EXPECT_EQ(book.Read().adapters.at("tone").queued, 2);
  book.BookAdmitted(both, absl::Seconds(1), 7, true);
  book.BookAdmitted(base, absl::Seconds(1), 0, true);
  EngineStats stats = book.Read();
  EXPECT_EQ(stats.running, 2);
  EXPECT_EQ(stats.adapters.at("tone").queued, 1);
  EXPECT_EQ(stats.adapters.at("tone").running, 1);
  EXPECT_EQ(stats.adapters.at("terse").running, 1);
  EXPECT_EQ(stats.prefix_hits, 1);
  EXPECT_EQ(stats.prefix_misses, 1);
  EXPECT_EQ(stats.cached_prompt_tokens, 7);
  book.BookEnd(both, true, absl::OkStatus(), absl::Seconds(2));
  book.BookEnd(tone, false, absl::CancelledError(), absl::Seconds(2));
  book.BookEnd(base, true, absl::DeadlineExceededError(""), absl::Seconds(2));
  stats = book.Read();
  EXPECT_TRUE(stats.adapters.empty());
  EXPECT_EQ(stats.queued + stats.running, 0);
  EXPECT_EQ(stats.finished, 1);
  EXPECT_EQ(stats.failed, 2);
  EXPECT_EQ(stats.cancelled, 1);
  EXPECT_EQ(stats.expired, 1);
  EXPECT_EQ(stats.generation_time.count, 1);
}

}  // namespace
}  // namespace shira
