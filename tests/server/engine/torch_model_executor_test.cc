#include "server/engine/torch_model_executor.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

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

struct Precision {
  DType dtype;
  float tolerance;  // of a logit, between two ways to compute it
};

class TorchModelExecutorTest : public ::testing::TestWithParam<Precision> {
 protected:
  void SetUp() override {
    config_.architecture = "llama";
    config_.hidden_size = 32;
    config_.num_layers = 2;
    config_.num_heads = 4;
    config_.num_kv_heads = 2;
    config_.head_dim = 8;
    config_.intermediate_size = 48;
    config_.vocab_size = 50;
    config_.max_position = 64;
    ASSERT_OK_AND_ASSIGN(weights_, ResidentWeights::Allocate(config_, GetParam().dtype));
    ASSERT_OK_AND_ASSIGN(const ParameterMap map, weights_->parameter_map());
    std::mt19937 random(1);
    std::normal_distribution<float> normal(0.0f, 0.2f);
    for (const ResidentParameter& parameter : map.parameters()) {
      for (int64_t i = 0; i < parameter.elements(); ++i) {
        StoreElement(map.dtype(), normal(random), i, parameter.data);
      }
    }
    ASSERT_OK_AND_ASSIGN(executor_, CreateTorchModelExecutor(*weights_, kBudgetBytes));
  }

  std::unique_ptr<SequenceCache> NewSequence(int64_t tokens = 32) {
    auto sequence = executor_->NewSequence(tokens);
    EXPECT_THAT(sequence, IsOk());
    return *std::move(sequence);
  }

  std::vector<BatchRow> InBase(std::vector<BatchRow> rows) const {
    for (BatchRow& row : rows) row.state = &base_;
    return rows;
  }

  Logits Forward(const std::vector<BatchRow>& rows) {
    const auto logits = executor_->Forward(base_, InBase(rows));
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

  void ExpectNear(absl::Span<const float> found, absl::Span<const float> expected) {
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i) {
      ASSERT_NEAR(found[i], expected[i], GetParam().tolerance) << i;
    }
  }

  const CompiledState base_;
  ModelConfig config_;
  std::unique_ptr<ResidentWeights> weights_;
  std::unique_ptr<ModelExecutor> executor_;
  const Tokens prompt_ = {3, 14, 15, 9, 26, 5, 35, 8, 9, 7, 9, 3, 23, 8, 46};
};

TEST_P(TorchModelExecutorTest, SaysWhatTheModelIs) {
  EXPECT_EQ(executor_->vocab_size(), 50);
  EXPECT_EQ(executor_->context_length(), 64);
  EXPECT_EQ(executor_->kv_budget_bytes(), kBudgetBytes);
  EXPECT_EQ(executor_->kv_used_bytes(), 0);
}

TEST_P(TorchModelExecutorTest, PrefillInChunksGivesTheLogitsOfOnePass) {
  const Logits whole = FeedInChunks(prompt_, prompt_.size());
  EXPECT_TRUE(std::any_of(whole.begin(), whole.end(), [](float x) { return std::abs(x) > 0.1f; }));
  ExpectNear(FeedInChunks(prompt_, 1), whole);
  ExpectNear(FeedInChunks(prompt_, 7), whole);
}

TEST_P(TorchModelExecutorTest, InterleavedSequencesEqualThoseRunAlone) {
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
  ExpectNear(absl::MakeConstSpan(both).subspan(0, 50), FeedInChunks(prompt_, 15));
  ExpectNear(absl::MakeConstSpan(both).subspan(50), FeedInChunks(other, 5));
}

TEST_P(TorchModelExecutorTest, GivesLogitsOnlyToTheRowsThatWantThem) {
  const Tokens first = {1, 2}, second = {3}, third = {4, 5, 6};
  std::vector<std::unique_ptr<SequenceCache>> sequences;
  for (int i = 0; i < 3; ++i) sequences.push_back(NewSequence());
  const Logits logits = Forward({{sequences[0].get(), first, true},
                                 {sequences[1].get(), second, false},
                                 {sequences[2].get(), third, true}});
  ASSERT_EQ(logits.size(), 100u);
  ExpectNear(absl::MakeConstSpan(logits).subspan(0, 50), FeedInChunks(first, 2));
  ExpectNear(absl::MakeConstSpan(logits).subspan(50), FeedInChunks(third, 3));
  EXPECT_EQ(sequences[0]->length(), 2);
  EXPECT_EQ(sequences[1]->length(), 1);
  EXPECT_EQ(sequences[2]->length(), 3);
}

TEST_P(TorchModelExecutorTest, LogitsDoNotDependOnWhatRanBefore) {
  const Logits before = FeedInChunks(prompt_, 6);
  FeedInChunks({49, 48, 47, 46, 45, 44, 43, 42, 41}, 2);
  EXPECT_EQ(FeedInChunks(prompt_, 6), before);
}

TEST_P(TorchModelExecutorTest, ComputesWithTheWeightsAsTheyAreNow) {
  const Logits before = FeedInChunks(prompt_, 15);
  const ResidentWeights::Matrix matrix = weights_->Find("model.layers.1.self_attn.v_proj.weight");
  const float original = LoadElement(weights_->dtype(), matrix.data, 5);
  StoreElement(weights_->dtype(), original + 4.0f, 5, matrix.data);
  EXPECT_NE(FeedInChunks(prompt_, 15), before);
  StoreElement(weights_->dtype(), original, 5, matrix.data);
  EXPECT_EQ(FeedInChunks(prompt_, 15), before);
}

TEST_P(TorchModelExecutorTest, RefusesSequencesBeyondTheBudgetUntilOthersAreGone) {
  const int64_t token_bytes = 2 * 2 * 2 * 8 * static_cast<int64_t>(DTypeSize(weights_->dtype()));
  const int64_t all = kBudgetBytes / token_bytes;
  auto most = NewSequence(all - 10);
  EXPECT_EQ(executor_->kv_used_bytes(), (all - 10) * token_bytes);
  EXPECT_THAT(executor_->NewSequence(11), StatusIs(absl::StatusCode::kResourceExhausted));
  most.reset();
  EXPECT_EQ(executor_->kv_used_bytes(), 0);
  EXPECT_THAT(executor_->NewSequence(all), IsOk());
}

TEST_P(TorchModelExecutorTest, ASequenceMayOutliveTheExecutor) {
  const auto sequence = NewSequence();
  executor_.reset();
  EXPECT_EQ(sequence->length(), 0);
}

TEST_P(TorchModelExecutorTest, FillsACacheToItsCapacity) {
  const Tokens tokens = {1, 2, 3};
  const auto sequence = NewSequence(3);
  Forward({{sequence.get(), tokens, true}});
  EXPECT_EQ(sequence->length(), 3);
  EXPECT_EQ(sequence->capacity(), 3);
}

TEST_P(TorchModelExecutorTest, RefusesWhatTheContractForbidsAndLeavesCachesAsTheyWere) {
  const auto a = NewSequence(4);
  const auto b = NewSequence(4);
  const Tokens two = {1, 2}, five = {1, 2, 3, 4, 5}, negative = {-1}, too_large = {50};
  const BatchRow good = {b.get(), two, true};
  const auto refused = [&](const BatchRow& bad, const char* why) {
    EXPECT_THAT(executor_->Forward(base_, InBase({good, bad})),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(why)));
  };
  refused({nullptr, two, true}, "no cache");
  refused({a.get(), {}, true}, "no tokens");
  refused({b.get(), two, true}, "occurs twice");
  refused({a.get(), five, true}, "room for 4");
  refused({a.get(), negative, true}, "token -1");
  refused({a.get(), too_large, true}, "token 50");
  EXPECT_EQ(a->length(), 0);
  EXPECT_EQ(b->length(), 0);
}

TEST_P(TorchModelExecutorTest, NoRowsGiveNoLogits) { EXPECT_TRUE(Forward({}).empty()); }

INSTANTIATE_TEST_SUITE_P(DTypes, TorchModelExecutorTest,
                         ::testing::Values(Precision{DType::kF32, 1e-5f},
                                           Precision{DType::kBF16, 0.1f},
                                           Precision{DType::kF16, 0.0125f}),
                         [](const auto& test) { return std::string(DTypeName(test.param.dtype)); });

}  // namespace
}  // namespace shira
