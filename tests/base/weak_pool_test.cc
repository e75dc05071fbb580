#include "base/weak_pool.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace shira {
namespace {

TEST(WeakPoolTest, WhoMakesASecondOneGetsTheOneInUse) {
  WeakPool<int, int> pool;
  const auto first = pool.Intern(1, std::make_shared<const int>(10));
  EXPECT_EQ(pool.Intern(1, std::make_shared<const int>(10)), first);
  EXPECT_EQ(pool.Find(1), first);
  EXPECT_EQ(pool.Find(2), nullptr);
}

TEST(WeakPoolTest, AnObjectGoesWithItsLastUser) {
  WeakPool<int, int> pool;
  auto first = pool.Intern(1, std::make_shared<const int>(10));
  const std::weak_ptr<const int> watch = first;
  first = nullptr;
  EXPECT_TRUE(watch.expired());
  EXPECT_EQ(pool.Find(1), nullptr);
  const auto second = std::make_shared<const int>(20);
  EXPECT_EQ(pool.Intern(1, second), second);
}

TEST(WeakPoolTest, VisitsWhatIsInUse) {
  WeakPool<int, int> pool;
  const auto kept = pool.Intern(1, std::make_shared<const int>(10));
  pool.Intern(2, std::make_shared<const int>(20));
  std::vector<int> seen;
  pool.ForEach([&](const int& object) { seen.push_back(object); });
  EXPECT_EQ(seen, std::vector<int>({10}));
}

TEST(WeakPoolTest, EntriesOfReleasedObjectsDoNotGather) {
  WeakPool<int, int> pool;
  std::vector<std::shared_ptr<const int>> used;
  for (int i = 0; i < 100; ++i) used.push_back(pool.Intern(i, std::make_shared<const int>(i)));
  for (int i = 100; i < 10'000; ++i) pool.Intern(i, std::make_shared<const int>(i));
  EXPECT_LT(pool.size(), 400u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(pool.Find(i), used[static_cast<size_t>(i)]);
}

}  // namespace
}  // namespace shira
