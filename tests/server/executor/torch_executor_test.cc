// LibTorch's executor on the CPU beside ours: the same model, the same sequences, the same switches.

#include "server/executor/torch/torch_executor.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "adapters/switch/switch_engine.h"
#include "server/model/cpu_executor.h"
#include "tests/server/model/decoder_fixture.h"
#include "tests/testutil/adapter_builder.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::MakeAdapter;
using ::shira::testing::MakeDelta;
using ::shira::testing::RandomPositions;
using ::shira::testing::StatusIs;
using ::testing::HasSubstr;

using Tokens = std::vector<int32_t>;

constexpr int64_t kBudgetBytes = int64_t{1} << 24;

std::unique_ptr<ModelExecutor> OnTorch(std::unique_ptr<ResidentWeights> weights,
                                       int64_t kv_budget_bytes = kBudgetBytes) {
  auto executor = CreateTorchExecutor(std::move(weights), {.kv_budget_bytes = kv_budget_bytes});
  EXPECT_THAT(executor, IsOk());
  return *std::move(executor);
}

// `entries` random elements of every matrix.
std::shared_ptr<const SparseAdapter> RandomAdapter(const ParameterMap& map, int64_t entries,
                                                   uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<ParameterDelta> deltas;
  for (const ParameterShape& parameter : map.parameters()) {
    if (parameter.rows == 1) continue;
    const int64_t count = std::min(entries, parameter.elements());
    deltas.push_back(MakeDelta(parameter.name, parameter.rows, parameter.cols,
                               RandomPositions(parameter.rows, parameter.cols, count, random),
                               random));
  }
  return MakeAdapter("adapter " + std::to_string(seed), std::move(deltas));
}

// One executor, its weights' switch engine, and sequences on it.
struct Side {
  explicit Side(ModelExecutor& executor) : executor(executor), engine(executor.weights(), {}) {}

  std::unique_ptr<SequenceCache> NewSequence(int64_t tokens = 200) {
    auto sequence = executor.NewSequence({.tokens = tokens});
    EXPECT_THAT(sequence, IsOk());
    return *std::move(sequence);
  }
  Logits Forward(std::vector<BatchRow> rows) {
    const std::shared_ptr<const CompiledState> resident = engine.resident();
    for (BatchRow& row : rows) row.state = resident.get();
    const auto logits = executor.Forward(*resident, rows);
    EXPECT_THAT(logits, IsOk());
    return logits.ok() ? Logits(logits->begin(), logits->end()) : Logits();
  }
  void Apply(const std::shared_ptr<const SparseAdapter>& adapter, double weight) {
    auto state = engine.Compile({{adapter, weight}});
    ASSERT_THAT(state, IsOk());
    engine.Apply(*std::move(state));
  }

  ModelExecutor& executor;
  SwitchEngine engine;
};

class TorchExecutorTest : public ::testing::TestWithParam<TinyModel> {
 protected:
  TorchExecutorTest()
      : cpu_(CreateCpuExecutor(*weights_, {.kv_budget_bytes = kBudgetBytes}).value()),
        torch_(OnTorch(RandomWeights(GetParam().config(), GetParam().dtype))) {}

  // Sums of a layer are rounded to the dtype; a few steps of that.
  void ExpectClose(const Logits& found, const Logits& expected) const {
    ASSERT_EQ(found.size(), expected.size());
    float largest = 0.0f, difference = 0.0f;
    for (size_t i = 0; i < found.size(); ++i) {
      largest = std::max(largest, std::abs(expected[i]));
      difference = std::max(difference, std::abs(found[i] - expected[i]));
    }
    EXPECT_GT(largest, 0.1f);
    const float step = GetParam().dtype == DType::kF32    ? 1e-6f
                       : GetParam().dtype == DType::kBF16 ? 1.0f / 256
                                                          : 1.0f / 2048;
    EXPECT_LT(difference, 8 * step * largest);
  }

  const std::unique_ptr<ResidentWeights> weights_ =
      RandomWeights(GetParam().config(), GetParam().dtype);
  const std::unique_ptr<ModelExecutor> cpu_;
  const std::unique_ptr<ModelExecutor> torch_;
};

TEST_P(TorchExecutorTest, DraftedTokensGiveTheLogitsOfOurKernels) {
  Side ours(*cpu_), theirs(*torch_);
  const Tokens a = TokensOf(1, 60);
  std::vector<Logits> found;
  for (Side* side : {&ours, &theirs}) {
    const auto sequence = side->NewSequence();
    const auto part = [&](size_t begin, size_t count) {
      return absl::MakeConstSpan(a).subspan(begin, count);
    };
    side->Forward({{sequence.get(), part(0, 40), false}});
    Logits all = side->Forward(
        {{.cache = sequence.get(), .tokens = part(40, 5), .wants_logits = true, .drafted = 4}});
    EXPECT_EQ(all.size(), 5u * side->executor.vocab_size());
    EXPECT_EQ(sequence->length(), 41);
    sequence->Accept(2);
    EXPECT_EQ(sequence->length(), 43);
    // Others in the place of those that were not accepted.
    const Logits rest = side->Forward({{sequence.get(), part(50, 3), true}});
    all.insert(all.end(), rest.begin(), rest.end());
    found.push_back(all);
  }
  ExpectClose(found[1], found[0]);
}

TEST_P(TorchExecutorTest, ChunksAndBatchesGiveTheLogitsOfOurKernels) {
  Side ours(*cpu_), theirs(*torch_);
  const Tokens a = TokensOf(1, 90), b = TokensOf(2, 41);
  std::vector<Logits> found;
  for (Side* side : {&ours, &theirs}) {
    const auto first = side->NewSequence(), second = side->NewSequence();
    const auto part = [](const Tokens& tokens, size_t begin, size_t count) {
      return absl::MakeConstSpan(tokens).subspan(begin, count);
    };
    // A prompt alone, a chunk beside another prompt, a decode row beside a chunk, two decode rows.
    Logits all = side->Forward({{first.get(), part(a, 0, 50), true}});
    const auto add = [&](const Logits& logits) {
      all.insert(all.end(), logits.begin(), logits.end());
    };
    add(side->Forward(
        {{first.get(), part(a, 50, 38), true}, {second.get(), part(b, 0, 39), false}}));
    add(side->Forward({{second.get(), part(b, 39, 1), true}, {first.get(), part(a, 88, 1), true}}));
    add(side->Forward({{first.get(), part(a, 89, 1), true}, {second.get(), part(b, 40, 1), true}}));
    EXPECT_EQ(first->length(), 90);
    found.push_back(std::move(all));
  }
  ExpectClose(found[1], found[0]);
}

TEST_P(TorchExecutorTest, StatesAreWrittenAsInMemory) {
  Side ours(*cpu_), theirs(*torch_);
  EXPECT_EQ(theirs.engine.base_digest(), ours.engine.base_digest());
  const auto one = RandomAdapter(cpu_->weights().parameters(), 300, 1);
  const auto two = RandomAdapter(cpu_->weights().parameters(), 200, 2);
  const auto hashes = [](const Side& side) {
    std::vector<Sha256Digest> all;
    const VerifyReport report = side.engine.Verify();
    EXPECT_TRUE(report.matches_expected);
    for (const ParameterHashes& parameter : report.parameters) all.push_back(parameter.resident);
    return all;
  };
  const auto base = hashes(ours);
  const Tokens prompt = TokensOf(3, 40);
  for (const auto& [adapter, weight] :
       std::vector<std::pair<decltype(one), double>>{{one, 1.0}, {two, -0.5}, {one, 0.25}}) {
    std::vector<Logits> logits;
    for (Side* side : {&ours, &theirs}) {
      side->Apply(adapter, weight);
      const auto sequence = side->NewSequence();
      logits.push_back(side->Forward({{sequence.get(), prompt, true}}));
    }
    EXPECT_EQ(hashes(theirs), hashes(ours));
    EXPECT_NE(hashes(theirs), base);
    ExpectClose(logits[1], logits[0]);
  }
  theirs.engine.Apply(theirs.engine.base());
  EXPECT_EQ(hashes(theirs), base);
  EXPECT_TRUE(theirs.engine.Verify().matches_base);
}

TEST_P(TorchExecutorTest, ForksShareWholePagesAndGoOnByThemselves) {
  Side side(*torch_);
  const Tokens tokens = TokensOf(4, 100);
  const auto all = absl::MakeConstSpan(tokens);
  const int64_t page = torch_->kv_geometry().page_tokens;
  const int64_t half = page + 8;  // a part of a page is copied
  auto source = side.NewSequence(100);
  side.Forward({{source.get(), all.subspan(0, half + 5), false}});
  const int64_t before = torch_->kv_used_bytes();
  auto fork = torch_->Fork(*source, half, {.tokens = 100});
  ASSERT_THAT(fork, IsOk());
  EXPECT_EQ((*fork)->length(), half);
  const int64_t page_bytes = before / ((100 + page - 1) / page);
  EXPECT_EQ(torch_->kv_used_bytes() - before, before - page_bytes);

  // The one goes on as it began, the other otherwise; neither sees the other.
  const Tokens others = TokensOf(5, 100 - half);
  side.Forward({{fork->get(), others, false}});
  const Logits found = side.Forward({{source.get(), all.subspan(half + 5), true}});
  const auto alone = side.NewSequence(100);
  ExpectClose(found, side.Forward({{alone.get(), all, true}}));

  source.reset();
  auto again = torch_->Fork(**fork, half, {.tokens = 100});
  ASSERT_THAT(again, IsOk());
  ExpectClose(side.Forward({{again->get(), all.subspan(half), true}}), found);
  EXPECT_THAT(torch_->Fork(**fork, 101, {.tokens = 200}),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

INSTANTIATE_TEST_SUITE_P(
    Models, TorchExecutorTest,
    ::testing::Values(TinyModel{DType::kF32}, TinyModel{DType::kF32, kTinyMixed, false},
                      TinyModel{DType::kBF16, kTinyMixed},
                      TinyModel{DType::kF16, kTinyMixed, false}, TinyModel{DType::kF32, kTinyGemma},
                      TinyModel{DType::kBF16, kTinyGemma, false},
                      TinyModel{DType::kF32, kTinyStableLm, false},
                      TinyModel{DType::kF32, kTinyMixture}, TinyModel{DType::kF32, kTinyGptOss}),
    TinyModelName);

TEST(TorchExecutorSwitchTest, MoreEntriesThanAreWrittenAtATime) {
  ModelConfig config = TinyDecoderConfig();
  config.hidden_size = 512;
  config.intermediate_size = 1100;
  const auto torch = OnTorch(RandomWeights(config, DType::kBF16));
  const auto weights = RandomWeights(config, DType::kBF16);
  const auto cpu = CreateCpuExecutor(*weights, {.kv_budget_bytes = kBudgetBytes}).value();
  std::vector<int64_t> positions(530'000);
  std::iota(positions.begin(), positions.end(), 7);
  std::mt19937 random(1);
  const auto adapter = MakeAdapter(
      "large", {MakeDelta("model.layers.0.mlp.down_proj.weight", 512, 1100, positions, random)});
  Side ours(*cpu), theirs(*torch);
  for (Side* side : {&ours, &theirs}) side->Apply(adapter, 1.0);
  const VerifyReport found = theirs.engine.Verify(), expected = ours.engine.Verify();
  for (size_t i = 0; i < found.parameters.size(); ++i) {
    EXPECT_EQ(found.parameters[i].resident, expected.parameters[i].resident)
        << found.parameters[i].name;
  }
}

TEST(TorchExecutorLimitsTest, ASequenceBeyondTheBudgetIsRefusedUntilThereIsRoom) {
  const auto executor = OnTorch(RandomWeights(TinyDecoderConfig(), DType::kF32), 100'000);
  EXPECT_EQ(executor->kv_budget_bytes(), 100'000);
  auto sequence = executor->NewSequence({.tokens = 200});
  ASSERT_THAT(sequence, IsOk());
  EXPECT_THAT(executor->NewSequence({.tokens = 200}),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("200 tokens")));
  sequence->reset();
  EXPECT_EQ(executor->kv_used_bytes(), 0);
  EXPECT_THAT(executor->NewSequence({.tokens = 200}), IsOk());
  EXPECT_THAT(executor->NewSequence({.tokens = 0}), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(TorchExecutorLimitsTest, RowsOfAnotherStateAreRefused) {
  const auto executor = OnTorch(RandomWeights(TinyDecoderConfig(), DType::kF32));
  EXPECT_FALSE(executor->mixes_states());
  Side side(*executor);
  const auto state =
      side.engine.Compile({{RandomAdapter(executor->weights().parameters(), 5, 1), 1.0}});
  ASSERT_THAT(state, IsOk());
  const auto sequence = side.NewSequence();
  const Tokens tokens = {1, 2};
  const BatchRow row = {sequence.get(), tokens, true, state->get()};
  EXPECT_THAT(executor->Forward(*side.engine.base(), {row}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("another state")));
  EXPECT_EQ(sequence->length(), 0);
}

TEST(TorchDeviceTest, DevicesThatAreNotThereAreRefused) {
  EXPECT_THAT(CheckTorchDevice("cpu"), IsOk());
  EXPECT_THAT(CheckTorchDevice("gpu"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'gpu'")));
  // No machine has so many.
  EXPECT_THAT(CheckTorchDevice("cuda:100"),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("SHIRA_LIBTORCH")));
}

}  // namespace
}  // namespace shira
