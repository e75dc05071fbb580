#include "server/engine/kv_memory.h"

#include "tests/server/engine/engine_fixture.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::FakeModelExecutor;
using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;

using Tokens = std::vector<int32_t>;

class KvMemoryTest : public testing::EngineFixture {
 protected:
  void Make(int64_t budget, int64_t context = 64, std::vector<int64_t> windows = {0}) {
    executor_ = std::make_unique<FakeModelExecutor>(
        weights_, FakeModelExecutor::Options{.context_length = context,
                                             .kv_budget_tokens = budget,
                                             .page_tokens = 4,
                                             .windows = std::move(windows),
                                             .chunk_tokens = 8});
    memory_.emplace(*executor_, 10);
  }
  KvMemory::Demand Demand(const Tokens& prompt, int64_t tokens, int64_t answers = 1) const {
    return {.state = StateKey().digest(), .prompt = prompt, .tokens = tokens, .answers = answers};
  }
  void Run(SequenceCache& cache, absl::Span<const int32_t> tokens) {
    const CompiledState& base = *switch_engine_.base();
    while (!tokens.empty()) {
      const auto chunk = tokens.first(std::min<size_t>(tokens.size(), 8));
      EXPECT_THAT(executor_->Forward(base, {{&cache, chunk, false, &base}}), IsOk());
      tokens.remove_prefix(chunk.size());
    }
  }

  std::optional<KvMemory> memory_;
};

TEST_F(KvMemoryTest, KnowsTheLongestSequence) {
  Make(42);
  EXPECT_EQ(memory_->max_sequence_tokens(), 40);  // ten pages
  EXPECT_EQ(executor_->kv_used_bytes(), 0);
  Make(42, 30);
  EXPECT_EQ(memory_->max_sequence_tokens(), 30);
  Make(3);
  EXPECT_EQ(memory_->max_sequence_tokens(), 0);
}

TEST_F(KvMemoryTest, TakesAllThatAGenerationCanNeedAtOnce) {
  Make(40);
  const Tokens prompt = Prompt(6);
  ASSERT_OK_AND_ASSIGN(auto first, memory_->Reserve(Demand(prompt, 21)));
  EXPECT_EQ(executor_->kv_used_bytes(), 24);
  EXPECT_THAT(memory_->Reserve(Demand(prompt, 17)), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(memory_->Reserve(Demand(prompt, 16)), IsOk());
}

TEST_F(KvMemoryTest, FurtherAnswersNeedOnlyWhatTheyDoNotShare) {
  Make(100);
  const Tokens prompt = Prompt(10);                           // two whole pages are shared
  EXPECT_TRUE(memory_->CanEverHold(Demand(prompt, 20, 6)));   // 5 + 5 * 3 pages
  EXPECT_FALSE(memory_->CanEverHold(Demand(prompt, 20, 8)));  // 5 + 7 * 3
  ASSERT_OK_AND_ASSIGN(auto reservation, memory_->Reserve(Demand(prompt, 20, 3)));
  EXPECT_EQ(executor_->kv_used_bytes(), 20 + 2 * 12);
  Run(*reservation.caches[0], prompt);
  ASSERT_THAT(memory_->ForkPrompt(10, 20, *reservation.caches[0],
                                  absl::MakeSpan(reservation.caches).subspan(1)),
              IsOk());
  // No more and no less than was reserved.
  EXPECT_EQ(executor_->kv_used_bytes(), 20 + 2 * 12);
  for (const auto& cache : reservation.caches) {
    EXPECT_EQ(cache->length(), 10);
    EXPECT_EQ(cache->capacity(), 20);
  }
}

TEST_F(KvMemoryTest, AKeptPromptIsReusedButForTheLastToken) {
  Make(100);
  const Tokens prompt = Prompt(8);
  {
    ASSERT_OK_AND_ASSIGN(auto first, memory_->Reserve(Demand(prompt, 12)));
    EXPECT_EQ(first.cached_tokens, 0);
    Run(*first.caches[0], prompt);
    memory_->prefixes()->Insert(StateKey(), prompt, *first.caches[0]);
  }
  EXPECT_EQ(executor_->kv_used_bytes(), 8);
  ASSERT_OK_AND_ASSIGN(auto same, memory_->Reserve(Demand(prompt, 12)));
  EXPECT_EQ(same.cached_tokens, 4);  // the eighth has to be run, so its page is
  EXPECT_EQ(same.caches[0]->length(), 4);
  const Tokens longer = Prompt(9);
  ASSERT_OK_AND_ASSIGN(auto more, memory_->Reserve(Demand(longer, 12)));
  EXPECT_EQ(more.cached_tokens, 8);
  EXPECT_EQ(executor_->kv_used_bytes(), 8 + 8 + 4);
}

TEST_F(KvMemoryTest, KeptPromptsMakeRoomForWhoNeedsIt) {
  Make(40);
  for (const int32_t first : {1, 21, 41}) {
    const Tokens prompt = Prompt(8, first);
    ASSERT_OK_AND_ASSIGN(auto reservation, memory_->Reserve(Demand(prompt, 12)));
    Run(*reservation.caches[0], prompt);
    memory_->prefixes()->Insert(StateKey(), prompt, *reservation.caches[0]);
  }
  EXPECT_EQ(executor_->kv_used_bytes(), 24);
  const Tokens other = {90, 91};
  ASSERT_OK_AND_ASSIGN(auto reservation, memory_->Reserve(Demand(other, 22)));
  EXPECT_EQ(memory_->prefixes()->prefixes(), 2);
  // Not for one that would not fit even so.
  EXPECT_THAT(memory_->Reserve(Demand(other, 20)), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(memory_->prefixes()->prefixes(), 2);
  ASSERT_OK_AND_ASSIGN(auto another, memory_->Reserve(Demand(other, 16)));
  EXPECT_EQ(memory_->prefixes()->prefixes(), 0);
}

TEST_F(KvMemoryTest, WindowsTakeTheirOwnLengthWhateverTheContextIs) {
  // 20 pages, of which a window takes 7.
  Make(80, 1000, {0, 10});
  EXPECT_EQ(executor_->kv_geometry().MostKept(1), 7);
  EXPECT_EQ(memory_->max_sequence_tokens(), (20 - 7) * 4);
  Make(80, 1000, {0, 0});
  EXPECT_EQ(memory_->max_sequence_tokens(), 40);
  Make(80, 1000, {10, 10});
  EXPECT_EQ(memory_->max_sequence_tokens(), 1000);
  const Tokens prompt = Prompt(30);
  EXPECT_EQ(memory_->BytesOf(Demand(prompt, 100)), 2 * 7 * 4);
  EXPECT_TRUE(memory_->CanEverHold(Demand(prompt, 900)));
  EXPECT_FALSE(memory_->CanEverHold(Demand(prompt, 900, 2)));
  EXPECT_TRUE(memory_->CanEverHold(Demand(prompt, 34, 2)));
}

TEST_F(KvMemoryTest, AnswersThatShareAWindowTakeWhatWasReservedForThem) {
  for (const int64_t prompt_tokens : {3, 30, 33, 47}) {
    for (const int64_t tokens : {48, 60, 90}) {
      Make(1000, 100, {0, 10, 21});
      const Tokens prompt = Prompt(prompt_tokens);
      const KvMemory::Demand demand = Demand(prompt, tokens, 4);
      ASSERT_OK_AND_ASSIGN(auto reservation, memory_->Reserve(demand));
      const int64_t reserved = executor_->kv_used_bytes();
      EXPECT_EQ(reserved, memory_->BytesOf(demand));
      Run(*reservation.caches[0], prompt);
      EXPECT_LE(executor_->kv_used_bytes(), reserved);
      ASSERT_THAT(memory_->ForkPrompt(prompt_tokens, tokens, *reservation.caches[0],
                                      absl::MakeSpan(reservation.caches).subspan(1)),
                  IsOk());
      EXPECT_LE(executor_->kv_used_bytes(), reserved);
      for (auto& cache : reservation.caches) {
        EXPECT_EQ(cache->length(), prompt_tokens);
        Run(*cache, Tokens(tokens - prompt_tokens, 1));
        EXPECT_LE(executor_->kv_used_bytes(), reserved);
      }
    }
  }
}

TEST_F(KvMemoryTest, APromptThatLeavesAKeptOneBeforeItsWindowSaysWhere) {
  Make(1000, 200, {0, 10});
  const Tokens kept = Prompt(60);
  {
    ASSERT_OK_AND_ASSIGN(auto first, memory_->Reserve(Demand(kept, 70)));
    EXPECT_EQ(first.branch_tokens, 0);
    Run(*first.caches[0], kept);
    memory_->prefixes()->Insert(StateKey(), kept, *first.caches[0]);
  }
  Tokens other = Prompt(20);
  for (int i = 0; i < 20; ++i) other.push_back(90);
  {
    ASSERT_OK_AND_ASSIGN(auto second, memory_->Reserve(Demand(other, 60)));
    EXPECT_EQ(second.cached_tokens, 0);
    EXPECT_EQ(second.branch_tokens, 20);
    Run(*second.caches[0], absl::MakeConstSpan(other).first(20));
    memory_->prefixes()->InsertBranch(StateKey(), absl::MakeConstSpan(other).first(20),
                                      *second.caches[0]);
  }
  other[30] = 91;
  ASSERT_OK_AND_ASSIGN(auto third, memory_->Reserve(Demand(other, 60)));
  EXPECT_EQ(third.cached_tokens, 20);
  EXPECT_EQ(third.branch_tokens, 0);
  // The kept prompt serves whoever goes on from its end, or asks it again.
  ASSERT_OK_AND_ASSIGN(auto again, memory_->Reserve(Demand(kept, 70)));
  EXPECT_EQ(again.cached_tokens, 56);
}

}  // namespace
}  // namespace shira
