#include "adapters/switch/switch_engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "tests/testutil/adapter_builder.h"
#include "tests/testutil/dtype_test_name.h"
#include "tests/testutil/plain_weights.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::DTypeTestName;
using ::shira::testing::LoadElement;
using ::shira::testing::MakeAdapter;
using ::shira::testing::MakeDelta;
using ::shira::testing::PlainWeights;
using ::shira::testing::RandomPositions;
using ::shira::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

using AdapterPtr = std::shared_ptr<const SparseAdapter>;

class SwitchEngineTest : public ::testing::TestWithParam<DType> {
 protected:
  SwitchEngineTest()
      : weights_(GetParam(), {{"q", 40, 24}, {"k", 8, 24}, {"wide", 3, 70000}, {"norm", 1, 24}}, 1),
        pristine_(weights_.data()),
        engine_(weights_.memory(), {}) {}

  AdapterPtr RandomAdapter(const std::string& name, const std::vector<std::string>& parameters,
                           uint32_t seed) {
    std::mt19937 random(seed);
    std::vector<ParameterDelta> deltas;
    for (const auto& [parameter, rows, cols] : weights_.shapes()) {
      if (std::find(parameters.begin(), parameters.end(), parameter) == parameters.end()) continue;
      deltas.push_back(MakeDelta(parameter, rows, cols,
                                 RandomPositions(rows, cols, rows + cols / 8, random), random));
    }
    return MakeAdapter(name, std::move(deltas));
  }

  // W(S) by the formula of switch_engine.h, element by element over a dense copy of W0.
  Sha256Digest Expected(const std::vector<WeightedAdapterRef>& canonical) const {
    std::vector<std::vector<std::byte>> data = pristine_;
    for (size_t p = 0; p < data.size(); ++p) {
      const int64_t elements = weights_.shapes()[p].rows * weights_.shapes()[p].cols;
      std::vector<double> sums(elements);
      std::vector<bool> touched(elements);
      std::vector<double> kept(elements, 1.0);  // of W0
      for (const WeightedAdapterRef& ref : canonical) {
        for (const ParameterDelta& delta : ref.adapter->deltas) {
          if (delta.parameter != weights_.shapes()[p].name) continue;
          if (delta.kind != ValueKind::kReplacement) continue;
          delta.table->ForEach([&](uint32_t, int64_t position) {
            kept[position] -= static_cast<float>(ref.weight * ref.adapter->scale);
          });
        }
      }
      for (int64_t i = 0; i < elements; ++i) {
        sums[i] = kept[i] * LoadElement(GetParam(), data[p].data(), i);
      }
      for (const WeightedAdapterRef& ref : canonical) {
        for (const ParameterDelta& delta : ref.adapter->deltas) {
          if (delta.parameter != weights_.shapes()[p].name) continue;
          const auto factor = static_cast<float>(ref.weight * ref.adapter->scale);
          delta.table->ForEach([&](uint32_t entry, int64_t position) {
            sums[position] += delta.values[entry] * factor;
            touched[position] = true;
          });
        }
      }
      for (int64_t i = 0; i < elements; ++i) {
        if (touched[i]) {
          testing::StoreElement(GetParam(), static_cast<float>(sums[i]), i, data[p].data());
        }
      }
    }
    Sha256 hash;
    for (const auto& bytes : data) hash.Update(bytes);
    return hash.Finish();
  }

  PlainWeights weights_;
  const std::vector<std::vector<std::byte>> pristine_;
  SwitchEngine engine_;
};

INSTANTIATE_TEST_SUITE_P(Dtypes, SwitchEngineTest,
                         ::testing::Values(DType::kF32, DType::kBF16, DType::kF16), DTypeTestName);

TEST_P(SwitchEngineTest, ApplyWritesTheFormula) {
  const AdapterPtr adapter = RandomAdapter("a", {"q", "wide", "norm"}, 2);
  ASSERT_OK_AND_ASSIGN(const auto state, engine_.Compile({{adapter, 0.75}}));
  const SwitchStats stats = engine_.Apply(state);
  EXPECT_EQ(stats.written, adapter->entries());
  EXPECT_EQ(weights_.Hash(), Expected({{adapter, 0.75}}));
  EXPECT_EQ(engine_.resident(), state);
}

TEST_P(SwitchEngineTest, AReplacementTakesTheExactPlaceOfTheWeight) {
  auto patch = std::make_shared<SparseAdapter>(*RandomAdapter("patch", {"q"}, 20));
  ParameterDelta& delta = patch->deltas[0];
  delta.kind = ValueKind::kReplacement;
  // A value that W0 + (value - W0) would lose, in any precision.
  delta.values.assign(delta.values.size(), 0x1p-20f);
  ASSERT_OK_AND_ASSIGN(const auto state, engine_.Compile({{patch, 1.0}}));
  engine_.Apply(state);
  delta.table->ForEach([&](uint32_t, int64_t position) {
    ASSERT_EQ(LoadElement(GetParam(), weights_.data()[0].data(), position), 0x1p-20f);
  });
  engine_.Apply(engine_.base());
  EXPECT_EQ(weights_.data(), pristine_);
}

TEST_P(SwitchEngineTest, ReplacementsMixWithDeltas) {
  auto patch = std::make_shared<SparseAdapter>(*RandomAdapter("patch", {"q", "k"}, 21));
  for (ParameterDelta& delta : patch->deltas) delta.kind = ValueKind::kReplacement;
  const AdapterPtr a = RandomAdapter("a", {"q", "k", "wide"}, 22);
  std::vector<WeightedAdapterRef> refs = {{patch, 0.75}, {a, 2.0}};
  if (a->digest < patch->digest) std::swap(refs[0], refs[1]);
  ASSERT_OK_AND_ASSIGN(const auto state, engine_.Compile(refs));
  engine_.Apply(state);
  EXPECT_EQ(weights_.Hash(), Expected(refs));
}

TEST_P(SwitchEngineTest, RevertRestoresEveryBit) {
  const Sha256Digest before = weights_.Hash();
  const AdapterPtr adapter = RandomAdapter("a", {"q", "k", "wide", "norm"}, 3);
  ASSERT_OK_AND_ASSIGN(const auto state, engine_.Compile({{adapter, 1.0}}));
  for (int cycle = 0; cycle < 3; ++cycle) {
    engine_.Apply(state);
    EXPECT_NE(weights_.Hash(), before);
    engine_.Apply(engine_.base());
    EXPECT_EQ(weights_.Hash(), before);
  }
}

TEST_P(SwitchEngineTest, SwitchesStraightBetweenDistinctTables) {
  const AdapterPtr a = RandomAdapter("a", {"q", "wide"}, 4);
  const AdapterPtr b = RandomAdapter("b", {"q", "k", "wide"}, 5);
  ASSERT_OK_AND_ASSIGN(const auto state_a, engine_.Compile({{a, 1.0}}));
  engine_.Apply(state_a);
  // Compiled while another state is resident: the originals are the pristine ones all the same.
  ASSERT_OK_AND_ASSIGN(const auto state_b, engine_.Compile({{b, 1.0}}));
  const SwitchStats stats = engine_.Apply(state_b);
  EXPECT_EQ(weights_.Hash(), Expected({{b, 1.0}}));
  // Each touched element is written once.
  int64_t common = 0;
  for (const ParameterDelta& x : a->deltas) {
    for (const ParameterDelta& y : b->deltas) {
      if (x.parameter != y.parameter) continue;
      std::set<int64_t> positions;
      x.table->ForEach([&](uint32_t, int64_t position) { positions.insert(position); });
      y.table->ForEach([&](uint32_t, int64_t position) { common += positions.count(position); });
    }
  }
  ASSERT_GT(common, 0);
  EXPECT_EQ(stats.written, a->entries() + b->entries() - common);
}

TEST_P(SwitchEngineTest, EqualTablesNeedNoRestoreAndShareOriginals) {
  const AdapterPtr a = RandomAdapter("a", {"q", "k"}, 6);
  auto twin = std::make_shared<SparseAdapter>(*a);
  twin->digest = Sha256::Of("twin");
  for (float& value : twin->deltas[0].values) value = -value;
  ASSERT_OK_AND_ASSIGN(const auto state_a, engine_.Compile({{a, 1.0}}));
  ASSERT_OK_AND_ASSIGN(const auto state_b, engine_.Compile({{twin, 1.0}}));
  EXPECT_EQ(state_a->parameters[0].originals, state_b->parameters[0].originals);
  engine_.Apply(state_a);
  EXPECT_EQ(engine_.Apply(state_b).written, twin->entries());
  EXPECT_EQ(weights_.Hash(), Expected({{twin, 1.0}}));
}

TEST_P(SwitchEngineTest, ASumDoesNotDependOnTheOrderOfItsTerms) {
  std::vector<WeightedAdapterRef> refs = {{RandomAdapter("a", {"q", "k"}, 7), 0.3},
                                          {RandomAdapter("b", {"q", "norm"}, 8), -1.7},
                                          {RandomAdapter("c", {"q", "k"}, 9), 2.5}};
  const auto by_digest = [](const WeightedAdapterRef& x, const WeightedAdapterRef& y) {
    return x.adapter->digest < y.adapter->digest;
  };
  std::sort(refs.begin(), refs.end(), by_digest);
  const Sha256Digest expected = Expected(refs);
  do {
    ASSERT_OK_AND_ASSIGN(const auto state, engine_.Compile(refs));
    engine_.Apply(state);
    EXPECT_EQ(weights_.Hash(), expected);
    engine_.Apply(engine_.base());
  } while (std::next_permutation(refs.begin(), refs.end(), by_digest));
}

// Huge terms that cancel: any other order of summation would give other bits.
TEST_P(SwitchEngineTest, ASumIsTakenInTheOrderOfDigests) {
  std::vector<WeightedAdapterRef> refs;
  for (const double weight : {1e20, -1e20, 1.0, 3.0}) {
    std::mt19937 random(21);  // equal positions and values
    refs.push_back(
        {MakeAdapter(std::to_string(weight), {MakeDelta("q", 40, 24, {3, 7, 100}, random)}),
         weight});
  }
  const auto by_digest = [](const WeightedAdapterRef& x, const WeightedAdapterRef& y) {
    return x.adapter->digest < y.adapter->digest;
  };
  std::vector<WeightedAdapterRef> canonical = refs;
  std::sort(canonical.begin(), canonical.end(), by_digest);
  const Sha256Digest expected = Expected(canonical);
  for (size_t rotation = 0; rotation < refs.size(); ++rotation) {
    std::rotate(refs.begin(), refs.begin() + 1, refs.end());
    ASSERT_OK_AND_ASSIGN(const auto state, engine_.Compile(refs));
    engine_.Apply(state);
    EXPECT_EQ(weights_.Hash(), expected);
    engine_.Apply(engine_.base());
  }
}

TEST_P(SwitchEngineTest, ApplyingTheResidentStateWritesNothing) {
  const AdapterPtr adapter = RandomAdapter("a", {"q"}, 10);
  ASSERT_OK_AND_ASSIGN(const auto state, engine_.Compile({{adapter, 1.0}}));
  ASSERT_OK_AND_ASSIGN(const auto again, engine_.Compile({{adapter, 1.0}}));
  engine_.Apply(state);
  EXPECT_EQ(engine_.Apply(again).written, 0);
}

TEST_P(SwitchEngineTest, ScaleMultipliesTheWeight) {
  auto scaled = std::make_shared<SparseAdapter>(*RandomAdapter("a", {"q"}, 11));
  scaled->scale = 0.25f;
  ASSERT_OK_AND_ASSIGN(const auto state, engine_.Compile({{scaled, 3.0}}));
  engine_.Apply(state);
  EXPECT_EQ(weights_.Hash(), Expected({{scaled, 3.0}}));
}

TEST_P(SwitchEngineTest, RefusesAFusedValueThatOverflows) {
  const AdapterPtr adapter = RandomAdapter("a", {"k"}, 12);
  const Sha256Digest before = weights_.Hash();
  EXPECT_THAT(engine_.Compile({{adapter, 1e300}}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("k, row"), HasSubstr("finite"))));
  EXPECT_EQ(weights_.Hash(), before);
}

TEST_P(SwitchEngineTest, RefusesAnUnknownParameterAndAnotherShape) {
  std::mt19937 random(13);
  EXPECT_THAT(engine_.Compile({{MakeAdapter("a", {MakeDelta("nowhere", 2, 2, {1}, random)}), 1.0}}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("nowhere")));
  EXPECT_THAT(engine_.Compile({{MakeAdapter("a", {MakeDelta("q", 24, 40, {1}, random)}), 1.0}}),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("q: expected [40, 24], found [24, 40]")));
}

TEST_P(SwitchEngineTest, RefusesBadWeightsAndAnAdapterTwice) {
  const AdapterPtr adapter = RandomAdapter("a", {"q"}, 14);
  EXPECT_THAT(engine_.Compile({{adapter, std::nan("")}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("finite weight")));
  EXPECT_THAT(engine_.Compile({{adapter, 1.0}, {adapter, 0.5}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("occurs twice")));
}

TEST_P(SwitchEngineTest, VerifyTellsBaseFusedAndDamagedApart) {
  VerifyReport report = engine_.Verify();
  EXPECT_TRUE(report.matches_base);
  EXPECT_TRUE(report.matches_expected);

  ASSERT_OK_AND_ASSIGN(const auto state, engine_.Compile({{RandomAdapter("a", {"q"}, 15), 1.0}}));
  engine_.Apply(state);
  report = engine_.Verify();
  EXPECT_FALSE(report.matches_base);
  EXPECT_TRUE(report.matches_expected);
  EXPECT_EQ(report.state, state->key);
  EXPECT_EQ(report.parameters[0].resident, Sha256::Of(weights_.data()[0]));

  // A flipped bit in an untouched parameter, then one in a touched element.
  std::byte& untouched = weights_.data()[1][5];
  untouched ^= std::byte{1};
  report = engine_.Verify();
  EXPECT_FALSE(report.matches_expected);
  EXPECT_NE(report.parameters[1].resident, report.parameters[1].expected);
  untouched ^= std::byte{1};
  int64_t touched = -1;
  state->parameters[0].table->ForEach([&](uint32_t, int64_t position) { touched = position; });
  std::byte& element = weights_.data()[0][touched * DTypeSize(GetParam())];
  element ^= std::byte{1};
  report = engine_.Verify();
  EXPECT_FALSE(report.matches_expected);
  EXPECT_TRUE(report.parameters[0].expected.has_value());
  element ^= std::byte{1};
  EXPECT_TRUE(engine_.Verify().matches_expected);
}

TEST_P(SwitchEngineTest, SplitsWorkIntoAnyNumberOfPieces) {
  const AdapterPtr a = RandomAdapter("a", {"q", "wide", "norm"}, 16);
  const AdapterPtr b = RandomAdapter("b", {"q", "k", "wide"}, 17);
  for (const int64_t pieces : {1, 2, 3, 7, 64, 100000}) {
    const ParallelFor split = [&](int64_t count, absl::FunctionRef<void(int64_t, int64_t)> body) {
      const int64_t n = std::min(pieces, count);
      for (int64_t i = n - 1; i >= 0; --i) body(count * i / n, count * (i + 1) / n);
    };
    PlainWeights weights(GetParam(), weights_.shapes(), 1);
    SwitchEngine engine(weights.memory(split), {.parallel_for = split});
    ASSERT_OK_AND_ASSIGN(const auto state_a, engine.Compile({{a, 1.0}}));
    ASSERT_OK_AND_ASSIGN(const auto state_b, engine.Compile({{b, 1.0}}));
    engine.Apply(state_a);
    EXPECT_EQ(weights.Hash(), Expected({{a, 1.0}})) << pieces;
    engine.Apply(state_b);
    EXPECT_EQ(weights.Hash(), Expected({{b, 1.0}})) << pieces;
    engine.Apply(engine.base());
    EXPECT_EQ(weights.Hash(), weights_.Hash()) << pieces;
  }
}

TEST_P(SwitchEngineTest, CompilesWhileAnotherThreadSwitches) {
  const AdapterPtr a = RandomAdapter("a", {"q", "k", "wide"}, 18);
  const AdapterPtr b = RandomAdapter("b", {"q", "k", "wide"}, 19);
  const AdapterPtr c = RandomAdapter("c", {"q", "k", "wide"}, 20);
  ASSERT_OK_AND_ASSIGN(const auto state_a, engine_.Compile({{a, 1.0}}));
  ASSERT_OK_AND_ASSIGN(const auto state_b, engine_.Compile({{b, 1.0}}));
  ASSERT_OK_AND_ASSIGN(const auto reference, engine_.Compile({{c, 1.0}}));
  const std::vector<ElementBuffer> fused = [&] {
    std::vector<ElementBuffer> buffers;
    for (const CompiledParameter& p : reference->parameters) buffers.push_back(p.fused);
    return buffers;
  }();
  std::atomic<bool> done = false;
  std::thread switcher([&] {
    while (!done) {
      engine_.Apply(state_a);
      engine_.Apply(state_b);
      engine_.Apply(engine_.base());
    }
  });
  for (int i = 0; i < 30; ++i) {
    const auto state = engine_.Compile({{c, 1.0}});
    ASSERT_TRUE(state.ok());
    for (size_t p = 0; p < fused.size(); ++p) EXPECT_EQ((*state)->parameters[p].fused, fused[p]);
    EXPECT_TRUE(engine_.Verify().matches_expected);
  }
  done = true;
  switcher.join();
}

}  // namespace
}  // namespace shira
