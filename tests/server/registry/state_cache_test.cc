#include "server/registry/state_cache.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

Sha256Digest AdapterDigest(const std::string& name) { return Sha256::Of(name); }

StateKey KeyOf(const std::vector<std::string>& adapters) {
  std::vector<StateTerm> terms;
  for (const std::string& adapter : adapters) terms.push_back({AdapterDigest(adapter), 1.0});
  return *StateKey::Create(std::move(terms));
}

// States with one table of a few hundred bytes; all of them are equally large.
class StateCacheTest : public ::testing::Test {
 protected:
  std::shared_ptr<const CompiledState> MakeState(const std::vector<std::string>& adapters) {
    auto state = std::make_shared<CompiledState>();
    state->key = KeyOf(adapters);
    CompiledParameter& parameter = state->parameters.emplace_back();
    parameter.table = table_;
    parameter.originals = std::make_shared<const ElementBuffer>(12);
    parameter.fused.resize(12);
    bytes_ = state->memory_bytes();
    return state;
  }

  std::shared_ptr<const CompiledState> Insert(const std::vector<std::string>& adapters) {
    std::shared_ptr<const CompiledState> state = MakeState(adapters);
    MemoryBudget::Reservation reservation = *budget_->Reserve(state->memory_bytes());
    return cache_.Insert(std::move(state), std::move(reservation));
  }

  bool Has(const std::vector<std::string>& adapters) const {
    return cache_.Peek(KeyOf(adapters)) != nullptr;
  }

  const std::shared_ptr<const IndexTable> table_ = *IndexTable::Create(4, 4, {1, 5, 9});
  const std::shared_ptr<MemoryBudget> budget_ = MemoryBudget::Create(1 << 20);
  int64_t bytes_ = 0;
  StateCache cache_;
};

TEST_F(StateCacheTest, FindsWhatWasInserted) {
  const auto state = Insert({"a"});
  EXPECT_EQ(cache_.Find(KeyOf({"a"})), state);
  EXPECT_EQ(cache_.Find(KeyOf({"b"})), nullptr);
  EXPECT_EQ(cache_.size(), 1u);
}

TEST_F(StateCacheTest, EvictsTheLeastRecentlyUsedFirst) {
  Insert({"a"});
  Insert({"b"});
  Insert({"c"});
  cache_.Find(KeyOf({"a"}));
  EXPECT_TRUE(cache_.Evict(1));
  EXPECT_FALSE(Has({"b"}));
  EXPECT_TRUE(cache_.Evict(1));
  EXPECT_FALSE(Has({"c"}));
  EXPECT_TRUE(Has({"a"}));
}

TEST_F(StateCacheTest, PeekingIsNoUse) {
  Insert({"a"});
  Insert({"b"});
  cache_.Peek(KeyOf({"a"}));
  EXPECT_TRUE(cache_.Evict(1));
  EXPECT_FALSE(Has({"a"}));
}

TEST_F(StateCacheTest, EvictsAsManyAsTheBytesNeedAndGivesThemBack) {
  Insert({"a"});
  Insert({"b"});
  Insert({"c"});
  EXPECT_TRUE(cache_.Evict(bytes_ + 1));
  EXPECT_EQ(cache_.size(), 1u);
  EXPECT_EQ(budget_->in_use_bytes(), bytes_);
}

TEST_F(StateCacheTest, SparesPinnedStates) {
  const auto pinned = Insert({"a"});
  Insert({"b"});
  EXPECT_TRUE(cache_.Evict(bytes_));
  EXPECT_TRUE(Has({"a"}));
  EXPECT_FALSE(Has({"b"}));
  EXPECT_FALSE(cache_.Evict(1));
}

TEST_F(StateCacheTest, EvictsNothingWhenItCouldNotFreeEnough) {
  Insert({"a"});
  Insert({"b"});
  EXPECT_FALSE(cache_.Evict(2 * bytes_ + 1));
  EXPECT_EQ(cache_.size(), 2u);
}

TEST_F(StateCacheTest, DropsEveryStateOfAnAdapterAndKeepsTheOthers) {
  Insert({"a"});
  Insert({"a", "b"});
  Insert({"b"});
  cache_.DropStatesOf(AdapterDigest("a"));
  EXPECT_EQ(cache_.size(), 1u);
  EXPECT_TRUE(Has({"b"}));
}

TEST_F(StateCacheTest, ADroppedStateCountsUntilItsUsersLetGo) {
  auto pinned = Insert({"a"});
  cache_.DropStatesOf(AdapterDigest("a"));
  EXPECT_FALSE(Has({"a"}));
  EXPECT_EQ(budget_->in_use_bytes(), bytes_);
  pinned.reset();
  EXPECT_EQ(budget_->in_use_bytes(), 0);
}

}  // namespace
}  // namespace shira
