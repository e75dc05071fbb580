#include "server/engine/prefix_cache.h"

#include <numeric>

#include "tests/server/engine/engine_fixture.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::FakeModelExecutor;
using ::shira::testing::IsOk;

using Tokens = std::vector<int32_t>;

class PrefixCacheTest : public testing::EngineFixture {
 protected:
  void SetUp() override { Make({0}); }
  void Make(std::vector<int64_t> windows, int64_t budget = 200) {
    cache_.reset();
    executor_ = std::make_unique<FakeModelExecutor>(
        weights_, FakeModelExecutor::Options{.context_length = 64,
                                             .kv_budget_tokens = budget,
                                             .page_tokens = 4,
                                             .windows = std::move(windows),
                                             .chunk_tokens = 4});
    cache_.emplace(*executor_, 3);
  }

  static StateKey Key(int adapter) {
    if (adapter == 0) return StateKey();
    return *StateKey::Create({{testing::TinyAdapter(adapter)->digest, 1.0}});
  }
  // Tokens as if they had been run: here every state is the base, only the keys differ.
  std::unique_ptr<SequenceCache> Run(const Tokens& tokens) {
    auto sequence = *executor_->NewSequence({.tokens = static_cast<int64_t>(tokens.size())});
    const CompiledState& base = *switch_engine_.base();
    for (const int32_t& token : tokens) {
      EXPECT_THAT(executor_->Forward(base, {{sequence.get(), {&token, 1}, false, &base}}), IsOk());
    }
    return sequence;
  }
  void Keep(int adapter, const Tokens& tokens) {
    cache_->Insert(Key(adapter), tokens, *Run(tokens));
  }
  int64_t Find(int adapter, const Tokens& tokens) {
    return cache_->Find(Key(adapter).digest(), tokens).tokens;
  }

  std::optional<PrefixCache> cache_;
};

TEST_F(PrefixCacheTest, FindsTheLongestBeginningInWholePages) {
  Keep(0, Prompt(10));
  Keep(0, {1, 2, 3, 4, 50, 51, 52, 53});
  EXPECT_EQ(Find(0, Prompt(20)), 8);  // 10 tokens are two pages and a bit
  EXPECT_EQ(Find(0, Prompt(7)), 4);
  EXPECT_EQ(Find(0, Prompt(3)), 0);
  EXPECT_EQ(Find(0, {1, 2, 3, 4, 50, 51, 52, 53, 54}), 8);
  EXPECT_EQ(Find(0, {1, 2, 3, 4, 50, 51, 52, 99, 54}), 4);
  EXPECT_EQ(Find(0, {2, 3, 4, 5, 6, 7, 8, 9}), 0);
}

TEST_F(PrefixCacheTest, NothingIsFoundUnderAnotherState) {
  Keep(1, Prompt(8));
  EXPECT_EQ(Find(1, Prompt(8)), 8);
  EXPECT_EQ(Find(0, Prompt(8)), 0);
  EXPECT_EQ(Find(2, Prompt(8)), 0);
  const StateKey half = *StateKey::Create({{testing::TinyAdapter(1)->digest, 0.5}});
  EXPECT_EQ(cache_->Find(half.digest(), Prompt(8)).tokens, 0);
}

TEST_F(PrefixCacheTest, KeepsTheMemoryOfItsPagesAndNoMore) {
  {
    const auto sequence = *executor_->NewSequence({.tokens = 40});
    const CompiledState& base = *switch_engine_.base();
    const Tokens tokens = Prompt(10);
    ASSERT_THAT(executor_->Forward(base, {{sequence.get(), tokens, false, &base}}), IsOk());
    cache_->Insert(Key(0), tokens, *sequence);
    EXPECT_EQ(executor_->kv_used_bytes(), 40);
  }
  EXPECT_EQ(executor_->kv_used_bytes(), 8);
  EXPECT_EQ(cache_->pages(), 2);
  EXPECT_TRUE(cache_->EvictOldest());
  EXPECT_EQ(executor_->kv_used_bytes(), 0);
  EXPECT_EQ(cache_->pages(), 0);
  EXPECT_FALSE(cache_->EvictOldest());
}

TEST_F(PrefixCacheTest, WhatIsABeginningOfSomethingKeptIsNotKeptTwice) {
  Keep(0, Prompt(8));
  Keep(0, Prompt(4));
  EXPECT_EQ(cache_->prefixes(), 1);
  Keep(0, Prompt(16));
  EXPECT_EQ(cache_->prefixes(), 1);
  EXPECT_EQ(cache_->pages(), 4);
  Keep(1, Prompt(4));
  EXPECT_EQ(cache_->prefixes(), 2);
}

TEST_F(PrefixCacheTest, GivesUpFirstWhatWasNotUsedForTheLongestTime) {
  Keep(0, Prompt(4, 1));
  Keep(0, Prompt(4, 11));
  Keep(0, Prompt(4, 21));
  EXPECT_EQ(Find(0, Prompt(4, 1)), 4);
  Keep(0, Prompt(4, 31));  // one more than it may hold
  EXPECT_EQ(Find(0, Prompt(4, 11)), 0);
  EXPECT_EQ(Find(0, Prompt(4, 1)), 4);
  EXPECT_TRUE(cache_->EvictOldest());
  EXPECT_EQ(Find(0, Prompt(4, 21)), 0);
  EXPECT_EQ(Find(0, Prompt(4, 31)), 4);
}

TEST_F(PrefixCacheTest, ForgetsAllThatWasRunWithAnAdapter) {
  Keep(0, Prompt(4));
  Keep(1, Prompt(4));
  Keep(2, Prompt(4));
  cache_->EraseUsersOf(testing::TinyAdapter(1)->digest);
  EXPECT_EQ(Find(1, Prompt(4)), 0);
  EXPECT_EQ(Find(0, Prompt(4)), 4);
  EXPECT_EQ(Find(2, Prompt(4)), 4);
  EXPECT_EQ(executor_->kv_used_bytes(), 8);
}

TEST_F(PrefixCacheTest, WithWindowsAPrefixServesFromItsEndAlone) {
  Make({0, 6});
  Keep(0, Prompt(40));
  EXPECT_EQ(Find(0, Prompt(50)), 40);
  EXPECT_EQ(Find(0, Prompt(39)), 36);  // the same prompt, whose last token is run again
  const Tokens leaves = {1, 2, 3, 4, 5, 6, 7, 8, 90, 91, 92, 93};
  const PrefixCache::Hit hit = cache_->Find(Key(0).digest(), leaves);
  EXPECT_EQ(hit.tokens, 0);
  EXPECT_EQ(hit.common_tokens, 8);
  // Ten pages of the one group; of the other the two that the window lies in and one before them.
  EXPECT_EQ(cache_->pages(), 10 + 3);
  EXPECT_EQ(executor_->kv_used_bytes(), 4 * cache_->pages());
}

TEST_F(PrefixCacheTest, ABranchStaysBesideWhatGoesOnFromIt) {
  Make({0, 6});
  cache_->InsertBranch(Key(0), Prompt(16), *Run(Prompt(16)));
  Keep(0, Prompt(24));
  EXPECT_EQ(cache_->prefixes(), 2);
  EXPECT_EQ(Find(0, Prompt(18)), 16);
  EXPECT_EQ(Find(0, Prompt(30)), 24);
  // What goes on from a prefix that is no branch is in its place.
  Keep(0, Prompt(32));
  EXPECT_EQ(cache_->prefixes(), 2);
  EXPECT_EQ(Find(0, Prompt(40)), 32);
  EXPECT_EQ(Find(0, Prompt(26)), 16);
}

TEST_F(PrefixCacheTest, ABranchThatSomethingLongerServesForIsNotKeptTwice) {
  Make({0, 60});
  cache_->InsertBranch(Key(0), Prompt(8), *Run(Prompt(8)));
  Keep(0, Prompt(16));
  EXPECT_EQ(cache_->prefixes(), 1);
  EXPECT_EQ(Find(0, Prompt(10)), 8);
}

TEST_F(PrefixCacheTest, WhatALiveSequenceIsGivenForItsWindowIsTakenFromWhatIsKept) {
  Make({6, 6}, 18 * 4);
  Keep(0, Prompt(16, 50));
  EXPECT_EQ(executor_->kv_used_bytes(), 6 * 4);
  const auto sequence = *executor_->NewSequence({.tokens = 60});
  const CompiledState& base = *switch_engine_.base();
  const Tokens tokens = Prompt(16);
  for (const int32_t& token : tokens) {
    ASSERT_THAT(executor_->Forward(base, {{sequence.get(), {&token, 1}, false, &base}}), IsOk());
  }
  EXPECT_EQ(executor_->kv_used_bytes(), (6 + 10) * 4);
  // Three pages of each group are shared, and have to be made up for: there are two.
  cache_->Insert(Key(0), tokens, *sequence);
  EXPECT_EQ(Find(0, Prompt(20)), 16);
  EXPECT_EQ(Find(0, Prompt(20, 50)), 0);
  EXPECT_EQ(executor_->kv_used_bytes(), (10 + 6) * 4);
}

}  // namespace
}  // namespace shira
