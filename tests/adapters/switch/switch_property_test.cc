// The switch under random histories: after any sequence of loads, applies, blends, reverts, unloads
// and failures the weights are those of a fresh load into the same state, byte for byte.

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "adapters/switch/switch_engine.h"
#include "tests/testutil/adapter_builder.h"
#include "tests/testutil/dtype_test_name.h"
#include "tests/testutil/plain_weights.h"

namespace shira {
namespace {

using ::shira::testing::DTypeTestName;
using ::shira::testing::MakeAdapter;
using ::shira::testing::MakeDelta;
using ::shira::testing::PlainWeights;
using ::shira::testing::RandomPositions;

using AdapterPtr = std::shared_ptr<const SparseAdapter>;

const std::vector<PlainWeights::Shape> kPropertyShapes = {
    {"q", 12, 16}, {"k", 6, 16}, {"v", 6, 16}, {"up", 20, 12}};

constexpr int kSteps = 12'000;

class SwitchPropertyTest : public ::testing::TestWithParam<DType> {
 protected:
  // One of 40 adapters, always the same for the same number; half of them share index tables.
  static AdapterPtr Adapter(int number) {
    std::mt19937 values(number);
    std::mt19937 positions(number % 2 == 0 ? 1000 : number);
    std::vector<ParameterDelta> deltas;
    for (size_t i = 0; i < kPropertyShapes.size(); ++i) {
      const auto& [name, rows, cols] = kPropertyShapes[i];
      const std::vector<int64_t> where = RandomPositions(rows, cols, rows + cols, positions);
      if (number % 3 == 0 && i == 1) continue;  // some leave a parameter out
      deltas.push_back(MakeDelta(name, rows, cols, where, values));
      if (number % 5 == 0) deltas.back().kind = ValueKind::kReplacement;
    }
    return MakeAdapter(std::to_string(number), std::move(deltas));
  }

  // The weights of a fresh load into a state.
  static Sha256Digest FreshLoad(const std::vector<WeightedAdapterRef>& refs) {
    PlainWeights weights(GetParam(), kPropertyShapes, 7);
    SwitchEngine engine(weights.memory(), {});
    engine.Apply(*engine.Compile(refs));
    return weights.Hash();
  }
};

INSTANTIATE_TEST_SUITE_P(Dtypes, SwitchPropertyTest,
                         ::testing::Values(DType::kF32, DType::kBF16, DType::kF16), DTypeTestName);

TEST_P(SwitchPropertyTest, WeightsDependOnTheStateAlone) {
  std::mt19937 random(42);
  const auto pick = [&](int n) { return static_cast<int>(random() % n); };

  PlainWeights weights(GetParam(), kPropertyShapes, 7);
  // Fails the allocation that the countdown reaches.
  int allocations_until_failure = -1;
  SwitchEngine engine(weights.memory(), {.reserve = [&](int64_t) {
                        return allocations_until_failure-- == 0
                                   ? absl::ResourceExhaustedError("injected")
                                   : absl::OkStatus();
                      }});

  std::map<int, AdapterPtr> loaded;
  std::map<std::string, std::shared_ptr<const CompiledState>>
      compiled;                                      // as a cache would keep them
  std::map<Sha256Digest, Sha256Digest> fresh_loads;  // by state
  Sha256Digest expected = weights.Hash();
  const Sha256Digest base = expected;
  int failures = 0;
  int switches = 0;

  for (int step = 0; step < kSteps; ++step) {
    switch (pick(8)) {
      case 0: {  // load
        const int number = pick(40);
        loaded[number] = Adapter(number);
        break;
      }
      case 1:  // unload: tables and cached states go, whatever is resident
        if (!loaded.empty()) {
          loaded.erase(std::next(loaded.begin(), pick(loaded.size())));
          if (pick(4) == 0) compiled.clear();
        }
        break;
      case 2:  // revert
        engine.Apply(engine.base());
        expected = base;
        ++switches;
        break;
      case 3: {  // a switch that fails while it is compiled changes nothing
        if (loaded.empty()) break;
        allocations_until_failure = pick(4);
        std::vector<WeightedAdapterRef> refs = {{loaded.begin()->second, 1.0}};
        if (pick(2) == 0) refs[0].weight = 1e300;
        const auto state = engine.Compile(refs);
        allocations_until_failure = -1;
        failures += !state.ok();
        break;
      }
      default: {  // apply one, or a blend of up to four
        if (loaded.empty()) break;
        std::vector<WeightedAdapterRef> refs;
        std::string cache_key;
        for (int n = pick(2) == 0 ? 1 : 1 + pick(4); n > 0; --n) {
          const auto chosen = std::next(loaded.begin(), pick(loaded.size()));
          const bool twice =
              std::any_of(refs.begin(), refs.end(), [&](const WeightedAdapterRef& ref) {
                return ref.adapter->digest == chosen->second->digest;
              });
          if (twice) continue;
          const double weight = (pick(9) - 4) * 0.5;
          refs.push_back({chosen->second, weight});
          cache_key += std::to_string(chosen->first) + ":" + std::to_string(weight) + " ";
        }
        std::shared_ptr<const CompiledState>& state = compiled[cache_key];
        if (state == nullptr) state = *engine.Compile(refs);
        const auto [fresh, is_new] = fresh_loads.try_emplace(state->key.digest());
        if (is_new) fresh->second = FreshLoad(refs);
        expected = fresh->second;
        engine.Apply(state);
        ++switches;
        break;
      }
    }
    ASSERT_EQ(weights.Hash(), expected) << "after step " << step;
  }
  engine.Apply(engine.base());
  EXPECT_EQ(weights.Hash(), base);
  EXPECT_TRUE(engine.Verify().matches_base);
  EXPECT_GT(failures, 500);
  EXPECT_GT(switches, 5000);
}

}  // namespace
}  // namespace shira
