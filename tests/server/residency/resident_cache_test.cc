#include "server/residency/resident_cache.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace shira {
namespace {

class ResidentCacheTest : public ::testing::Test {
 protected:
  std::shared_ptr<const std::string> Insert(const std::string& key) {
    auto object = std::make_shared<const std::string>(key);
    cache_.Insert({key, object, /*own_bytes=*/10, /*full_bytes=*/30});
    return object;
  }

  bool Has(const std::string& key) const { return cache_.Peek(key) != nullptr; }

  ResidentCache<std::string, std::string> cache_;
};

TEST_F(ResidentCacheTest, FindsWhatWasInserted) {
  const auto object = Insert("a");
  EXPECT_EQ(cache_.Find("a"), object);
  EXPECT_EQ(cache_.Find("b"), nullptr);
  EXPECT_EQ(cache_.size(), 1u);
  EXPECT_EQ(cache_.Peek("a")->full_bytes, 30);
}

TEST_F(ResidentCacheTest, EvictsTheLeastRecentlyUsedFirst) {
  Insert("a");
  Insert("b");
  Insert("c");
  cache_.Find("a");
  EXPECT_TRUE(cache_.EvictOne());
  EXPECT_FALSE(Has("b"));
  EXPECT_TRUE(cache_.EvictOne());
  EXPECT_FALSE(Has("c"));
  EXPECT_TRUE(Has("a"));
}

TEST_F(ResidentCacheTest, PeekingIsNoUse) {
  Insert("a");
  Insert("b");
  cache_.Peek("a");
  EXPECT_TRUE(cache_.EvictOne());
  EXPECT_FALSE(Has("a"));
}

TEST_F(ResidentCacheTest, SparesPinnedObjects) {
  auto pinned = Insert("a");
  Insert("b");
  EXPECT_EQ(cache_.evictable_bytes(), 10);
  EXPECT_TRUE(cache_.EvictOne());
  EXPECT_TRUE(Has("a"));
  EXPECT_FALSE(Has("b"));
  EXPECT_FALSE(cache_.EvictOne());
  pinned.reset();
  EXPECT_EQ(cache_.evictable_bytes(), 10);
  EXPECT_TRUE(cache_.EvictOne());
  EXPECT_EQ(cache_.size(), 0u);
}

TEST_F(ResidentCacheTest, ErasesByKeyAlsoWhatIsPinned) {
  const auto pinned = Insert("a");
  Insert("b");
  cache_.EraseIf([](const std::string& key) { return key == "a"; });
  EXPECT_FALSE(Has("a"));
  EXPECT_TRUE(Has("b"));
  EXPECT_EQ(*pinned, "a");
}

}  // namespace
}  // namespace shira
