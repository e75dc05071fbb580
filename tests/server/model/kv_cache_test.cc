#include "server/model/kv_cache.h"

#include <cstring>
#include <limits>

#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int64_t kPageBytes = 8192;

std::shared_ptr<KvPagePool> PoolOf(int64_t pages) {
  return KvPagePool::Create({.page_tokens = kPageTokens, .page_bytes = kPageBytes},
                            pages * kPageBytes)
      .value();
}

// A cache that is full of a byte.
std::unique_ptr<KvCache> Filled(const std::shared_ptr<KvPagePool>& pool, int64_t tokens, int byte) {
  auto cache = KvCache::Create(pool, {.tokens = tokens}).value();
  cache->Begin(tokens);
  for (int64_t i = 0; i * kPageTokens < tokens; ++i) {
    std::memset(cache->addresses(0)[i], byte, kPageBytes);
  }
  cache->Extend(tokens);
  return cache;
}

TEST(KvCacheTest, TakesWholePagesAndGivesThemBack) {
  const auto pool = PoolOf(10);
  {
    ASSERT_OK_AND_ASSIGN(const auto cache, KvCache::Create(pool, {.tokens = 2 * kPageTokens + 1}));
    EXPECT_EQ(cache->capacity(), 2 * kPageTokens + 1);
    EXPECT_EQ(cache->length(), 0);
    EXPECT_EQ(pool->used_bytes(), 3 * kPageBytes);
  }
  EXPECT_EQ(pool->used_bytes(), 0);
}

TEST(KvCacheTest, RefusesMoreThanThePoolHasLeftAndTakesNothing) {
  const auto pool = PoolOf(10);
  ASSERT_OK_AND_ASSIGN(auto cache, KvCache::Create(pool, {.tokens = 6 * kPageTokens}));
  EXPECT_THAT(
      KvCache::Create(pool, {.tokens = 4 * kPageTokens + 1}),
      StatusIs(absl::StatusCode::kResourceExhausted,
               AllOf(HasSubstr("129 tokens"), HasSubstr("5 more pages"), HasSubstr("are in use"))));
  EXPECT_EQ(pool->used_bytes(), 6 * kPageBytes);
  EXPECT_THAT(KvCache::Create(pool, {.tokens = 4 * kPageTokens}), IsOk());
}

TEST(KvCacheTest, RefusesMoreThanAnyMachineHas) {
  const auto pool = PoolOf(10);
  EXPECT_THAT(KvCache::Create(pool, {.tokens = std::numeric_limits<int64_t>::max()}),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(pool->used_bytes(), 0);
}

TEST(KvCacheTest, RefusesAnEmptyCapacity) {
  EXPECT_THAT(KvCache::Create(PoolOf(1), {.tokens = 0}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(KvCache::Create(PoolOf(1), {.tokens = -1}),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(KvCacheTest, AForkSharesWholePagesAndCopiesTheRest) {
  const auto pool = PoolOf(10);
  const auto source = Filled(pool, 3 * kPageTokens, 7);
  ASSERT_OK_AND_ASSIGN(const auto fork,
                       source->Fork(2 * kPageTokens + 5, {.tokens = 4 * kPageTokens}));
  EXPECT_EQ(fork->length(), 2 * kPageTokens + 5);
  EXPECT_EQ(fork->capacity(), 4 * kPageTokens);
  EXPECT_EQ(fork->addresses(0)[0], source->addresses(0)[0]);
  EXPECT_EQ(fork->addresses(0)[1], source->addresses(0)[1]);
  ASSERT_NE(fork->addresses(0)[2], source->addresses(0)[2]);
  EXPECT_EQ(std::memcmp(fork->addresses(0)[2], source->addresses(0)[2], kPageBytes), 0);
  // Three of the source, two of the fork's own.
  EXPECT_EQ(pool->used_bytes(), 5 * kPageBytes);
  std::memset(fork->addresses(0)[2], 1, kPageBytes);
  EXPECT_EQ(source->addresses(0)[2][0], std::byte{7});
}

TEST(KvCacheTest, AForkAtAPagesEndCopiesNothing) {
  const auto pool = PoolOf(3);
  const auto source = Filled(pool, 2 * kPageTokens, 7);
  ASSERT_OK_AND_ASSIGN(const auto fork, source->Fork(2 * kPageTokens, {.tokens = 2 * kPageTokens}));
  EXPECT_EQ(pool->used_bytes(), 2 * kPageBytes);
  ASSERT_OK_AND_ASSIGN(const auto longer, source->Fork(kPageTokens, {.tokens = kPageTokens + 1}));
  EXPECT_EQ(pool->used_bytes(), 3 * kPageBytes);
}

TEST(KvCacheTest, AForkOfNothingSharesNothing) {
  const auto pool = PoolOf(4);
  const auto source = Filled(pool, 2 * kPageTokens, 7);
  ASSERT_OK_AND_ASSIGN(const auto fork, source->Fork(0, {.tokens = 2 * kPageTokens}));
  EXPECT_EQ(fork->length(), 0);
  EXPECT_EQ(pool->used_bytes(), 4 * kPageBytes);
}

TEST(KvCacheTest, SharedPagesStayUntilTheirLastOwnerIsGone) {
  const auto pool = PoolOf(10);
  auto source = Filled(pool, 2 * kPageTokens, 7);
  ASSERT_OK_AND_ASSIGN(auto fork, source->Fork(2 * kPageTokens, {.tokens = 3 * kPageTokens}));
  ASSERT_OK_AND_ASSIGN(auto of_fork, fork->Fork(kPageTokens, {.tokens = kPageTokens}));
  source.reset();
  EXPECT_EQ(pool->used_bytes(), 3 * kPageBytes);
  EXPECT_EQ(fork->addresses(0)[1][kPageBytes - 1], std::byte{7});
  fork.reset();
  EXPECT_EQ(pool->used_bytes(), 1 * kPageBytes);
  EXPECT_EQ(of_fork->addresses(0)[0][0], std::byte{7});
  of_fork.reset();
  EXPECT_EQ(pool->used_bytes(), 0);
}

TEST(KvCacheTest, AForkThatDoesNotFitLeavesEverythingAsItWas) {
  const auto pool = PoolOf(4);
  auto source = Filled(pool, 2 * kPageTokens, 7);
  EXPECT_THAT(source->Fork(kPageTokens + 1, {.tokens = 5 * kPageTokens}),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(pool->used_bytes(), 2 * kPageBytes);
  source.reset();
  EXPECT_EQ(pool->used_bytes(), 0);
}

TEST(KvCacheTest, RefusesForksOfWhatIsNotThere) {
  const auto pool = PoolOf(9);
  const auto source = Filled(pool, 5, 7);
  EXPECT_THAT(source->Fork(6, {.tokens = 9}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(source->Fork(-1, {.tokens = 9}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(source->Fork(5, {.tokens = 4}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(source->Fork(0, {.tokens = 0}), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(KvCacheTest, MayOutliveEveryOtherOwnerOfThePool) {
  auto pool = PoolOf(2);
  const auto cache = Filled(pool, 3, 7);
  pool.reset();
  EXPECT_EQ(cache->addresses(0)[0][5], std::byte{7});
}

}  // namespace
}  // namespace shira
