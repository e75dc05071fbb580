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

KvGeometry PagesOfBytes(int64_t bytes) { return {.page_bytes = bytes}; }

// So many pages, which have to be there.
std::vector<int64_t> Taken(KvPagePool& pool, int64_t count) {
  std::vector<int64_t> pages;
  EXPECT_TRUE(pool.Promise(count));
  pool.Take(count, pages);
  return pages;
}

TEST(KvPagePoolTest, PagesAreDistinctAlignedAndWithinTheBudget) {
  ASSERT_OK_AND_ASSIGN(const auto pool, KvPagePool::Create(PagesOfBytes(5000), 100'000));
  EXPECT_EQ(pool->budget_bytes(), 100'000);
  const int64_t page_bytes = pool->geometry().page_bytes;
  EXPECT_EQ(page_bytes % 4096, 0);
  EXPECT_GE(page_bytes, 5000);
  const int64_t all = 100'000 / page_bytes;
  EXPECT_EQ(pool->geometry().pages, all);
  EXPECT_EQ(pool->free_pages(), all);
  const std::vector<int64_t> pages = Taken(*pool, all);
  EXPECT_FALSE(pool->Promise(1));
  EXPECT_EQ(pool->used_bytes(), all * page_bytes);
  EXPECT_EQ(std::set<int64_t>(pages.begin(), pages.end()).size(), static_cast<size_t>(all));
  for (const int64_t page : pages) {
    EXPECT_TRUE(page >= 0 && page < all) << page;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(pool->AddressOf(page)) % 64, 0u);
    std::memset(pool->AddressOf(page), 1, page_bytes);
  }
  pool->Return(pages, 0);
  EXPECT_EQ(pool->used_bytes(), 0);
}

TEST(KvPagePoolTest, ABudgetBelowAPageGivesNone) {
  for (const int64_t budget : {-1, 0, 4095}) {
    ASSERT_OK_AND_ASSIGN(const auto pool, KvPagePool::Create(PagesOfBytes(4096), budget));
    EXPECT_FALSE(pool->Promise(1));
    EXPECT_EQ(pool->free_pages(), 0);
  }
}

TEST(KvPagePoolTest, WhatIsPromisedIsNotFreeForOthers) {
  ASSERT_OK_AND_ASSIGN(const auto pool, KvPagePool::Create(PagesOfBytes(4096), 4 * 4096));
  EXPECT_TRUE(pool->Promise(3));
  EXPECT_EQ(pool->used_bytes(), 3 * 4096);
  EXPECT_FALSE(pool->Promise(2));
  std::vector<int64_t> pages;
  pool->Take(3, pages);
  EXPECT_EQ(pool->used_bytes(), 3 * 4096);
  EXPECT_FALSE(pool->Share(pages, 2));
  EXPECT_TRUE(pool->Share(absl::MakeConstSpan(pages).first(1), 1));
  pool->Return(pages, 0);  // one has another owner
  EXPECT_EQ(pool->used_bytes(), 2 * 4096);
  pool->Return(absl::MakeConstSpan(pages).first(1), -1);
  EXPECT_EQ(pool->used_bytes(), 0);
}

TEST(KvPagePoolTest, RefusesABudgetThatTheMachineCannotHave) {
  EXPECT_THAT(KvPagePool::Create(PagesOfBytes(1 << 20), std::numeric_limits<int64_t>::max()),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("KV memory")));
}

// Of the pages' own memory: a sanitizer has memory for what a program uses, too.
int64_t ResidentBytes(const KvPagePool& pool, const std::vector<int64_t>& pages) {
  const int64_t page_bytes = pool.geometry().page_bytes;
  const int64_t system_page = sysconf(_SC_PAGESIZE);
  std::vector<unsigned char> resident(page_bytes / system_page);
  int64_t bytes = 0;
  for (const int64_t page : pages) {
    EXPECT_EQ(mincore(pool.AddressOf(page), page_bytes, resident.data()), 0);
    for (const unsigned char state : resident) bytes += (state & 1) * system_page;
  }
  return bytes;
}

TEST(KvPagePoolTest, FreeMemoryBeyondAReserveGoesBackToTheSystem) {
  constexpr int64_t kMiB = 1 << 20;
  ASSERT_OK_AND_ASSIGN(const auto pool, KvPagePool::Create(PagesOfBytes(kMiB), 256 * kMiB));
  const std::vector<int64_t> pages = Taken(*pool, 200);
  EXPECT_EQ(ResidentBytes(*pool, pages), 0);
  for (const int64_t page : pages) std::memset(pool->AddressOf(page), 1, kMiB);
  EXPECT_EQ(ResidentBytes(*pool, pages), 200 * kMiB);
  pool->Return(pages, 0);
  const int64_t kept = ResidentBytes(*pool, pages);
  EXPECT_LT(kept, 64 * kMiB);
  EXPECT_GT(kept, 16 * kMiB);
  // What kept its memory is taken first.
  const std::vector<int64_t> again = Taken(*pool, 8);
  EXPECT_EQ(ResidentBytes(*pool, again), 8 * kMiB);
  pool->Return(again, 0);
}

TEST(KvPagePoolTest, NeverGivesMoreThanItsBudgetToThreadsAtOnce) {
  ASSERT_OK_AND_ASSIGN(const auto pool, KvPagePool::Create(PagesOfBytes(4096), 100 * 4096));
  std::vector<std::vector<int64_t>> taken(4);
  std::vector<std::thread> threads;
  for (auto& pages : taken) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) {
        if (pool->Promise(3)) pool->Take(3, pages);
        if (i % 5 == 0 && !pages.empty()) {
          pool->Return(absl::MakeConstSpan(pages).last(1), 0);
          pages.pop_back();
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<int64_t> distinct;
  size_t count = 0;
  for (const auto& pages : taken) {
    distinct.insert(pages.begin(), pages.end());
    count += pages.size();
  }
  EXPECT_EQ(distinct.size(), count);
  EXPECT_GT(count, 97u);
  EXPECT_EQ(pool->used_bytes(), static_cast<int64_t>(count) * 4096);
  for (const auto& pages : taken) pool->Return(pages, 0);
}

}  // namespace
}  // namespace shira
