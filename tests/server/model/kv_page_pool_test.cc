#include "server/model/kv_page_pool.h"

#include <atomic>
#include <cstring>
#include <fstream>
#include <limits>
#include <set>
#include <string>
#include <thread>

#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::StatusIs;
using ::testing::HasSubstr;

TEST(KvPagePoolTest, PagesAreDistinctAlignedAndWithinTheBudget) {
  ASSERT_OK_AND_ASSIGN(const auto pool, KvPagePool::Create(5000, 100'000));
  EXPECT_EQ(pool->budget_bytes(), 100'000);
  EXPECT_EQ(pool->page_bytes() % 4096, 0);
  EXPECT_GE(pool->page_bytes(), 5000);
  const int64_t all = 100'000 / pool->page_bytes();
  EXPECT_EQ(pool->free_pages(), all);
  std::vector<std::byte*> pages;
  ASSERT_TRUE(pool->Take(all, pages));
  EXPECT_FALSE(pool->Take(1, pages));
  EXPECT_EQ(pool->used_bytes(), all * pool->page_bytes());
  EXPECT_EQ(std::set<std::byte*>(pages.begin(), pages.end()).size(), static_cast<size_t>(all));
  for (std::byte* page : pages) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(page) % 64, 0u);
    std::memset(page, 1, pool->page_bytes());
  }
  pool->Return(pages);
  EXPECT_EQ(pool->used_bytes(), 0);
}

TEST(KvPagePoolTest, ABudgetBelowAPageGivesNone) {
  for (const int64_t budget : {-1, 0, 4095}) {
    ASSERT_OK_AND_ASSIGN(const auto pool, KvPagePool::Create(4096, budget));
    std::vector<std::byte*> pages;
    EXPECT_FALSE(pool->Take(1, pages));
    EXPECT_TRUE(pages.empty());
  }
}

TEST(KvPagePoolTest, RefusesABudgetThatTheMachineCannotHave) {
  EXPECT_THAT(KvPagePool::Create(1 << 20, std::numeric_limits<int64_t>::max()),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("KV memory")));
}

int64_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  int64_t total = 0, resident = 0;
  file >> total >> resident;
  return resident * 4096;
}

TEST(KvPagePoolTest, FreeMemoryBeyondAReserveGoesBackToTheSystem) {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the sanitizer's own memory counts";
#endif
  constexpr int64_t kMiB = 1 << 20;
  ASSERT_OK_AND_ASSIGN(const auto pool, KvPagePool::Create(kMiB, 256 * kMiB));
  const int64_t before = ResidentBytes();
  EXPECT_LT(before, 200 * kMiB);
  std::vector<std::byte*> pages;
  ASSERT_TRUE(pool->Take(200, pages));
  for (std::byte* page : pages) std::memset(page, 1, kMiB);
  EXPECT_GT(ResidentBytes(), before + 190 * kMiB);
  pool->Return(pages);
  EXPECT_LT(ResidentBytes(), before + 64 * kMiB);
}

TEST(KvPagePoolTest, NeverGivesMoreThanItsBudgetToThreadsAtOnce) {
  ASSERT_OK_AND_ASSIGN(const auto pool, KvPagePool::Create(4096, 100 * 4096));
  std::vector<std::vector<std::byte*>> taken(4);
  std::vector<std::thread> threads;
  for (auto& pages : taken) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) {
        pool->Take(3, pages);
        if (i % 5 == 0 && !pages.empty()) {
          pool->Return(absl::MakeConstSpan(pages).last(1));
          pages.pop_back();
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<std::byte*> distinct;
  size_t count = 0;
  for (const auto& pages : taken) {
    distinct.insert(pages.begin(), pages.end());
    count += pages.size();
  }
  EXPECT_EQ(distinct.size(), count);
  EXPECT_GT(count, 97u);
  EXPECT_EQ(pool->used_bytes(), static_cast<int64_t>(count) * 4096);
  for (const auto& pages : taken) pool->Return(pages);
}

}  // namespace
}  // namespace shira
