#include "server/model/cpu_executor.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "server/model/families/llama.h"
#include "tests/testutil/plain_weights.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::LoadElement;
using ::shira::testing::StatusIs;
using ::shira::testing::StoreElement;
using ::testing::HasSubstr;

using Tokens = std::vector<int32_t>;
using Logits = std::vector<float>;

constexpr int64_t kBudgetBytes = 1 << 20;

class CpuExecutorTest : public ::testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    config_.architecture = "llama";
    config_.family = &kLlamaFamily;
    config_.hidden_size = 32;
    config_.num_layers = 2;
    config_.layers.resize(2);
    config_.num_heads = 4;
    config_.num_kv_heads = 2;
    config_.head_dim = 8;
    config_.intermediate_size = 48;
    config_.vocab_size = 50;
    config_.max_position = 64;
    ASSERT_OK_AND_ASSIGN(weights_, ResidentWeights::Allocate(config_, GetParam()));
    std::mt19937 random(1);
    std::normal_distribution<float> normal(0.0f, 0.2f);
    for (const ResidentParameter& parameter : weights_->parameters()) {
      for (int64_t i = 0; i < parameter.elements(); ++i) {
        StoreElement(weights_->dtype(), normal(random), i, parameter.data);
      }
    }
    ASSERT_OK_AND_ASSIGN(executor_,
                         CreateCpuExecutor(*weights_, {.kv_budget_bytes = kBudgetBytes}));
  }

  std::unique_ptr<SequenceCache> NewSequence(int64_t tokens = 32) {
    auto sequence = executor_->NewSequence({.tokens = tokens});
    EXPECT_THAT(sequence, IsOk());
    return *std::move(sequence);
  }

  Logits Forward(std::vector<BatchRow> rows) {
    for (BatchRow& row : rows) row.state = &base_;
    const auto logits = executor_->Forward(base_, rows);
    EXPECT_THAT(logits, IsOk());
    return logits.ok() ? Logits(logits->begin(), logits->end()) : Logits();
  }

  // The logits after all tokens, fed at most `chunk` at a time to a new sequence.
  Logits FeedInChunks(const Tokens& tokens, size_t chunk) {
    const auto sequence = NewSequence();
    Logits logits;
    for (size_t i = 0; i < tokens.size(); i += chunk) {
      const auto part = absl::MakeConstSpan(tokens).subspan(i, chunk);
      logits = Forward({{.cache = sequence.get(), .tokens = part, .wants_logits = true}});
    }
    return logits;
  }

  const CompiledState base_;
  ModelConfig config_;
  std::unique_ptr<ResidentWeights> weights_;
  std::unique_ptr<ModelExecutor> executor_;
  const Tokens prompt_ = {3, 14, 15, 9, 26, 5, 35, 8, 9, 7, 9, 3, 23, 8, 46};
};

TEST_P(CpuExecutorTest, SaysWhatTheModelIs) {
  EXPECT_EQ(executor_->vocab_size(), 50);
  EXPECT_EQ(executor_->context_length(), 64);
  EXPECT_EQ(executor_->kv_budget_bytes(), kBudgetBytes);
  EXPECT_EQ(executor_->kv_used_bytes(), 0);
}

TEST_P(CpuExecutorTest, PrefillInChunksGivesTheLogitsOfOnePass) {
  const Logits whole = FeedInChunks(prompt_, prompt_.size());
  EXPECT_TRUE(std::any_of(whole.begin(), whole.end(), [](float x) { return std::abs(x) > 0.1f; }));
  EXPECT_EQ(FeedInChunks(prompt_, 1), whole);
  EXPECT_EQ(FeedInChunks(prompt_, 7), whole);
}

TEST_P(CpuExecutorTest, InterleavedSequencesEqualThoseRunAlone) {
  const Tokens other = {40, 2, 33, 21, 17};
  const auto a = NewSequence();
  const auto b = NewSequence();
  const auto prompt = absl::MakeConstSpan(prompt_);
  // A prefill chunk beside nothing, beside a prefill, and beside decode rows.
  Forward({{a.get(), prompt.subspan(0, 4), false}});
  Forward({{b.get(), absl::MakeConstSpan(other).subspan(0, 4), false},
           {a.get(), prompt.subspan(4, 6), false}});
  const Logits both = Forward({{a.get(), prompt.subspan(10), true},
                               {b.get(), absl::MakeConstSpan(other).subspan(4), true}});

  ASSERT_EQ(both.size(), 100u);
  EXPECT_EQ(Logits(both.begin(), both.begin() + 50), FeedInChunks(prompt_, 15));
  EXPECT_EQ(Logits(both.begin() + 50, both.end()), FeedInChunks(other, 5));
}

TEST_P(CpuExecutorTest, GivesLogitsOnlyToTheRowsThatWantThem) {
  const Tokens first = {1, 2}, second = {3}, third = {4, 5, 6};
  std::vector<std::unique_ptr<SequenceCache>> sequences;
  for (int i = 0; i < 3; ++i) sequences.push_back(NewSequence());
  const Logits logits = Forward({{sequences[0].get(), first, true},
                                 {sequences[1].get(), second, false},
                                 {sequences[2].get(), third, true}});
  ASSERT_EQ(logits.size(), 100u);
  EXPECT_EQ(Logits(logits.begin(), logits.begin() + 50), FeedInChunks(first, 2));
  EXPECT_EQ(Logits(logits.begin() + 50, logits.end()), FeedInChunks(third, 3));
  EXPECT_EQ(sequences[0]->length(), 2);
  EXPECT_EQ(sequences[1]->length(), 1);
  EXPECT_EQ(sequences[2]->length(), 3);
}

TEST_P(CpuExecutorTest, DraftedTokensGetTheLogitsOfSingleSteps) {
  const auto prompt = absl::MakeConstSpan(prompt_);
  std::vector<Logits> single;  // after each token of the prompt
  const auto alone = NewSequence();
  for (size_t i = 0; i < prompt.size(); ++i) {
    single.push_back(Forward({{alone.get(), prompt.subspan(i, 1), true}}));
  }
  for (const int64_t accepted : {0, 1, 5}) {
    const auto drafting = NewSequence();
    const auto other = NewSequence();
    Forward({{drafting.get(), prompt.first(4), false}});
    // Behind the fifth token five of the prompt's own, and then one that is not.
    Tokens chunk(prompt.begin() + 4, prompt.begin() + 10);
    chunk.push_back(49);
    const Logits logits =
        Forward({{other.get(), prompt.first(3), true},
                 {.cache = drafting.get(), .tokens = chunk, .wants_logits = true, .drafted = 6}});
    ASSERT_EQ(logits.size(), 8 * 50u);
    const auto row = [&](int64_t i) {
      return Logits(logits.begin() + i * 50, logits.begin() + (i + 1) * 50);
    };
    EXPECT_EQ(row(0), single[2]);
    for (int64_t i = 0; i < 6; ++i) EXPECT_EQ(row(1 + i), single[4 + i]) << i;
    EXPECT_EQ(other->length(), 3);
    // None is part of the sequence before it is accepted, and the others never are.
    EXPECT_EQ(drafting->length(), 5);
    if (accepted > 0) drafting->Accept(accepted);
    EXPECT_EQ(drafting->length(), 5 + accepted);
    const auto rest = prompt.subspan(5 + accepted);
    EXPECT_EQ(Forward({{drafting.get(), rest, true}}), single.back()) << accepted;
  }
}

TEST_P(CpuExecutorTest, LogitsDoNotDependOnWhatRanBefore) {
  const Logits before = FeedInChunks(prompt_, 6);
  FeedInChunks({49, 48, 47, 46, 45, 44, 43, 42, 41}, 2);
  EXPECT_EQ(FeedInChunks(prompt_, 6), before);
}

TEST_P(CpuExecutorTest, ComputesWithTheWeightsAsTheyAreNow) {
  const Logits before = FeedInChunks(prompt_, 15);
  const int64_t values =
      executor_->weights().parameters().Find("model.layers.1.self_attn.v_proj.weight");
  std::byte* matrix = weights_->parameters()[values].data;
  const float original = LoadElement(weights_->dtype(), matrix, 5);
  StoreElement(weights_->dtype(), original + 4.0f, 5, matrix);
  EXPECT_NE(FeedInChunks(prompt_, 15), before);
  StoreElement(weights_->dtype(), original, 5, matrix);
  EXPECT_EQ(FeedInChunks(prompt_, 15), before);
}

TEST_P(CpuExecutorTest, RefusesSequencesBeyondTheBudgetUntilOthersAreGone) {
  const int64_t page = executor_->kv_geometry().page_tokens;
  auto one = NewSequence(1);
  const int64_t page_bytes = executor_->kv_used_bytes();
  // Layers x 2 x key heads x head_dim rounded up to 16.
  EXPECT_GE(page_bytes, page * 2 * 2 * 2 * 16 * static_cast<int64_t>(DTypeSize(GetParam())));
  one.reset();
  const int64_t pages = kBudgetBytes / page_bytes;
  auto most = NewSequence((pages - 2) * page);
  EXPECT_EQ(executor_->kv_used_bytes(), (pages - 2) * page_bytes);
  EXPECT_THAT(executor_->NewSequence({.tokens = 2 * page + 1}),
              StatusIs(absl::StatusCode::kResourceExhausted));
  most.reset();
  EXPECT_EQ(executor_->kv_used_bytes(), 0);
  EXPECT_THAT(executor_->NewSequence({.tokens = pages * page}), IsOk());
}

TEST_P(CpuExecutorTest, AForkGoesOnWithWhatItsSourceStored) {
  const int64_t page = executor_->kv_geometry().page_tokens;
  Tokens tokens;
  for (int32_t i = 0; i < 60; ++i) tokens.push_back(i * 7 % 50);
  const auto all = absl::MakeConstSpan(tokens);
  auto source = NewSequence(60);
  const Logits expected = Forward({{source.get(), all, true}});
  const int64_t used = executor_->kv_used_bytes();
  for (const int64_t kept : {int64_t{0}, int64_t{5}, page, page + 3}) {
    ASSERT_OK_AND_ASSIGN(const auto fork, executor_->Fork(*source, kept, {.tokens = 60}));
    EXPECT_EQ(fork->length(), kept);
    EXPECT_EQ(fork->capacity(), 60);
    EXPECT_EQ(executor_->kv_used_bytes(), 2 * used - kept / page * (used / 2));
    EXPECT_EQ(Forward({{fork.get(), all.subspan(kept), true}}), expected) << kept;
  }
  EXPECT_EQ(executor_->kv_used_bytes(), used);
  ASSERT_OK_AND_ASSIGN(const auto fork, executor_->Fork(*source, page, {.tokens = 60}));
  source.reset();
  EXPECT_EQ(Forward({{fork.get(), all.subspan(page), true}}), expected);
  EXPECT_THAT(executor_->Fork(*fork, 61, {.tokens = 70}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(executor_->Fork(*fork, 40, {.tokens = 1'000'000}),
              StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST_P(CpuExecutorTest, ASequenceMayOutliveTheExecutor) {
  const auto sequence = NewSequence();
  executor_.reset();
  EXPECT_EQ(sequence->length(), 0);
}

TEST_P(CpuExecutorTest, FillsACacheToItsCapacity) {
  const Tokens tokens = {1, 2, 3};
  const auto sequence = NewSequence(3);
  Forward({{sequence.get(), tokens, true}});
  EXPECT_EQ(sequence->length(), 3);
  EXPECT_EQ(sequence->capacity(), 3);
}

TEST_P(CpuExecutorTest, RefusesWhatTheContractForbidsAndLeavesCachesAsTheyWere) {
  const auto a = NewSequence(4);
  const auto b = NewSequence(4);
  const Tokens two = {1, 2}, five = {1, 2, 3, 4, 5}, negative = {-1}, too_large = {50};
  const BatchRow good = {b.get(), two, true, &base_};
  const auto refused = [&](const BatchRow& bad, const char* why) {
    EXPECT_THAT(executor_->Forward(base_, {good, bad}),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(why)));
  };
  refused({nullptr, two, true, &base_}, "no cache");
  refused({a.get(), {}, true, &base_}, "no tokens");
  refused({b.get(), two, true, &base_}, "occurs twice");
  refused({a.get(), five, true, &base_}, "room for 4");
  refused({a.get(), negative, true, &base_}, "token -1");
  refused({a.get(), too_large, true, &base_}, "token 50");
  refused({a.get(), two, true, nullptr}, "no state");
  refused({a.get(), two, true, &base_, 2}, "2 of 2 tokens are drafted");
  refused({a.get(), two, true, &base_, -1}, "-1 of 2 tokens are drafted");
  refused({a.get(), two, false, &base_, 1}, "logits are not wanted");
  EXPECT_EQ(a->length(), 0);
  EXPECT_EQ(b->length(), 0);
}

TEST_P(CpuExecutorTest, NoRowsGiveNoLogits) { EXPECT_TRUE(Forward({}).empty()); }

INSTANTIATE_TEST_SUITE_P(DTypes, CpuExecutorTest,
                         ::testing::Values(DType::kF32, DType::kBF16, DType::kF16),
                         [](const auto& test) { return std::string(DTypeName(test.param)); });

}  // namespace
}  // namespace shira
