#include "server/model/kv_page_pool.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <limits>
#include <set>
#include <string>
#include <thread>
#include <vector>

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

// Of the pages' own memory: a sanitizer has memory for what a program uses, too.
int64_t ResidentBytes(const std::vector<std::byte*>& pages, int64_t page_bytes) {
  const int64_t system_page = sysconf(_SC_PAGESIZE);
  std::vector<unsigned char> resident(page_bytes / system_page);
  int64_t bytes = 0;
  for (std::byte* page : pages) {
    EXPECT_EQ(mincore(page, page_bytes, resident.data()), 0);
    for (const unsigned char state : resident) bytes += (state & 1) * system_page;
  }
  return bytes;
}

TEST(KvPagePoolTest, FreeMemoryBeyondAReserveGoesBackToTheSystem) {
  constexpr int64_t kMiB = 1 << 20;
  ASSERT_OK_AND_ASSIGN(const auto pool, KvPagePool::Create(kMiB, 256 * kMiB));
  std::vector<std::byte*> pages;
  ASSERT_TRUE(pool->Take(200, pages));
  EXPECT_EQ(ResidentBytes(pages, kMiB), 0);
  for (std::byte* page : pages) std::memset(page, 1, kMiB);
  EXPECT_EQ(ResidentBytes(pages, kMiB), 200 * kMiB);
  pool->Return(pages);
  EXPECT_LT(ResidentBytes(pages, kMiB), 64 * kMiB);
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
