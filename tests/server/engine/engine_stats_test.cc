#include "server/engine/engine_stats.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "server/engine/stats_book.h"

namespace shira {
namespace {

TEST(EngineStatsTest, BoundsOfDurationsAscend) {
  EXPECT_TRUE(std::is_sorted(kEngineSeconds.begin(), kEngineSeconds.end()));
}

TEST(StatsBookTest, FollowsGenerationsToTheirEnd) {
  StatsBook book;
  for (int i = 0; i < 3; ++i) book.BookQueued();
  EXPECT_EQ(book.Read().queued, 3);
  book.BookAdmitted(7, true);
  book.BookAdmitted(0, true);
  EngineStats stats = book.Read();
  EXPECT_EQ(stats.queued, 1);
  EXPECT_EQ(stats.running, 2);
  EXPECT_EQ(stats.prefix_hits, 1);
  EXPECT_EQ(stats.prefix_misses, 1);
  EXPECT_EQ(stats.cached_prompt_tokens, 7);
  book.BookEnd(true, absl::OkStatus());
  book.BookEnd(false, absl::DataLossError("a file has changed"));
  book.BookEnd(true, absl::DataLossError("logits"));
  stats = book.Read();
  EXPECT_EQ(stats.queued + stats.running, 0);
  EXPECT_EQ(stats.finished, 1);
  EXPECT_EQ(stats.failed, 2);
  EXPECT_EQ(stats.not_finite, 1);
}

}  // namespace
}  // namespace shira
