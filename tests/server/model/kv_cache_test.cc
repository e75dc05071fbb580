#include "server/model/kv_cache.h"

#include <limits>
#include <thread>
#include <vector>

#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

ModelConfig SmallConfig() {
  ModelConfig config;
  config.num_layers = 3;
  config.num_kv_heads = 2;
  config.head_dim = 8;
  return config;
}

// Of SmallConfig in bfloat16: layers x 2 x kv_heads x head_dim x 2 bytes.
constexpr int64_t kTokenBytes = 3 * 2 * 2 * 8 * 2;

TEST(KvCacheTest, TakesItsBytesFromTheBudgetAndGivesThemBack) {
  const auto budget = std::make_shared<KvBudget>(100 * kTokenBytes);
  {
    ASSERT_OK_AND_ASSIGN(const auto cache,
                         KvCache::Create(SmallConfig(), DType::kBF16, 60, budget));
    EXPECT_EQ(cache->capacity(), 60);
    EXPECT_EQ(cache->length(), 0);
    EXPECT_EQ(budget->used_bytes(), 60 * kTokenBytes);
  }
  EXPECT_EQ(budget->used_bytes(), 0);
}

TEST(KvCacheTest, RefusesMoreThanTheBudgetHasLeft) {
  const auto budget = std::make_shared<KvBudget>(100 * kTokenBytes);
  ASSERT_OK_AND_ASSIGN(auto cache, KvCache::Create(SmallConfig(), DType::kBF16, 60, budget));
  EXPECT_THAT(KvCache::Create(SmallConfig(), DType::kBF16, 41, budget),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       AllOf(HasSubstr("41 tokens"), HasSubstr("are in use"))));
  EXPECT_EQ(budget->used_bytes(), 60 * kTokenBytes);
  EXPECT_THAT(KvCache::Create(SmallConfig(), DType::kBF16, 40, budget), IsOk());
}

TEST(KvCacheTest, RefusesMoreThanAnyMachineHas) {
  const auto budget = std::make_shared<KvBudget>(std::numeric_limits<int64_t>::max());
  EXPECT_THAT(KvCache::Create(SmallConfig(), DType::kF32, int64_t{1} << 60, budget),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(budget->used_bytes(), 0);
}

TEST(KvCacheTest, RefusesAnEmptyCapacity) {
  const auto budget = std::make_shared<KvBudget>(1000);
  EXPECT_THAT(KvCache::Create(SmallConfig(), DType::kF32, 0, budget),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(KvCache::Create(SmallConfig(), DType::kF32, -1, budget),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(KvCacheTest, PlanesLieOneAfterTheOther) {
  const auto budget = std::make_shared<KvBudget>(100 * kTokenBytes);
  ASSERT_OK_AND_ASSIGN(const auto cache, KvCache::Create(SmallConfig(), DType::kBF16, 5, budget));
  const int64_t plane_bytes = 2 * 5 * 8 * 2;
  for (int64_t layer = 0; layer < 3; ++layer) {
    EXPECT_EQ(cache->keys(layer) - cache->keys(0), 2 * layer * plane_bytes);
    EXPECT_EQ(cache->values(layer) - cache->keys(layer), plane_bytes);
  }
}

TEST(KvBudgetTest, NeverGivesMoreThanItsLimitToThreadsAtOnce) {
  KvBudget budget(1000);
  std::vector<std::thread> threads;
  std::atomic<int> taken{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 1000; ++j) taken += budget.Take(3) ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(taken, 333);
  EXPECT_EQ(budget.used_bytes(), 999);
}

}  // namespace
}  // namespace shira
