#include "adapters/switch/weight_guard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "absl/base/attributes.h"
#include "absl/time/clock.h"
#include "tests/testutil/adapter_builder.h"
#include "tests/testutil/dtype_test_name.h"
#include "tests/testutil/plain_weights.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::DTypeTestName;
using ::shira::testing::IsOk;
using ::shira::testing::MakeAdapter;
using ::shira::testing::MakeDelta;
using ::shira::testing::PlainWeights;
using ::shira::testing::RandomPositions;
using ::shira::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Damage comes from outside of the program, hence past its locks and past ThreadSanitizer.
ABSL_ATTRIBUTE_NO_SANITIZE_THREAD void FlipBit(std::byte& byte) {
  reinterpret_cast<unsigned char&>(byte) ^= 1;
}

// "large" takes several slices, whose edges are not those of the tables' blocks.
class WeightGuardTest : public ::testing::TestWithParam<DType> {
 protected:
  std::shared_ptr<const CompiledState> MakeState(uint32_t seed) {
    std::mt19937 random(seed);
    std::vector<ParameterDelta> deltas;
    deltas.push_back(
        MakeDelta("large", 1500, 700, RandomPositions(1500, 700, 20'000, random), random));
    deltas.push_back(MakeDelta("small", 8, 16, RandomPositions(8, 16, 30, random), random));
    auto state = engine_.Compile({{MakeAdapter(std::to_string(seed), std::move(deltas)), 1.0}});
    EXPECT_THAT(state, IsOk());
    return *std::move(state);
  }

  // Until the guard has found it, or two more passes have found nothing.
  static WeightIntegrity NextFinding(const WeightGuard& guard) {
    const int64_t passes = guard.integrity().passes;
    while (guard.integrity().damaged.empty() && guard.integrity().passes < passes + 2) {
      absl::SleepFor(absl::Milliseconds(1));
    }
    return guard.integrity();
  }

  PlainWeights weights_{GetParam(), {{"large", 1500, 700}, {"small", 8, 16}, {"other", 1, 64}}, 1};
  SwitchEngine engine_{weights_.memory(), {}};
};

TEST_P(WeightGuardTest, FindsNothingWhileStatesAreSwitched) {
  const std::vector<std::shared_ptr<const CompiledState>> states = {MakeState(1), MakeState(2),
                                                                    engine_.base()};
  WeightGuard guard(engine_);
  std::atomic<int> changes = 0;
  guard.Start({absl::Milliseconds(1), [&](const auto&) { ++changes; }});
  for (int i = 0; guard.integrity().passes < 5; ++i) {
    engine_.Apply(states[i % 3]);
    absl::SleepFor(absl::Microseconds(100));  // the guard takes only time that nobody else wants
  }
  EXPECT_THAT(guard.integrity().damaged, IsEmpty());
  EXPECT_GT(guard.integrity().last_verified, absl::InfinitePast());
  EXPECT_EQ(changes, 0);
}

TEST_P(WeightGuardTest, FindsEveryKindOfDamageAndNamesTheParameter) {
  const auto state = MakeState(1);
  engine_.Apply(state);
  const size_t bytes = DTypeSize(GetParam());
  const CompiledParameter& large = state->parameters[0];
  int64_t written = -1;
  std::vector<bool> touched(1500 * 700);
  large.table->ForEach([&](uint32_t, int64_t position) {
    written = position;
    touched[position] = true;
  });
  const int64_t untouched =
      std::find(touched.begin() + 700'000, touched.end(), false) - touched.begin();
  for (const int64_t element : {written, untouched, int64_t{0}, int64_t{1500 * 700 - 1}}) {
    std::byte& byte = weights_.data()[0][element * bytes];
    FlipBit(byte);
    WeightGuard guard(engine_);
    guard.Start({absl::Milliseconds(1), nullptr});
    EXPECT_THAT(NextFinding(guard).damaged, ElementsAre("large")) << element;
    FlipBit(byte);
  }
  // What would be put back is watched too.
  std::byte& original = (*const_cast<ElementBuffer*>(large.originals.get()))[5 * bytes];
  FlipBit(original);
  WeightGuard guard(engine_);
  guard.Start({absl::Milliseconds(1), nullptr});
  EXPECT_THAT(NextFinding(guard).damaged, ElementsAre("large"));
  FlipBit(original);
}

TEST_P(WeightGuardTest, TellsOfDamageOnceAndOfItsEnd) {
  WeightGuard guard(engine_);
  absl::Mutex mutex;
  std::vector<std::vector<std::string>> told;
  guard.Start({absl::Milliseconds(1), [&](const std::vector<std::string>& damaged) {
                 absl::MutexLock lock(&mutex);
                 told.push_back(damaged);
               }});
  FlipBit(weights_.data()[1][3]);
  EXPECT_THAT(NextFinding(guard).damaged, ElementsAre("small"));
  const int64_t passes = guard.integrity().passes;
  while (guard.integrity().passes < passes + 2) absl::SleepFor(absl::Milliseconds(1));
  FlipBit(weights_.data()[1][3]);
  // Only a check on demand takes it back.
  while (guard.integrity().passes < passes + 4) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_THAT(guard.integrity().damaged, ElementsAre("small"));
  guard.Report(engine_.Verify());
  EXPECT_THAT(guard.integrity().damaged, IsEmpty());
  absl::MutexLock lock(&mutex);
  EXPECT_THAT(told, ElementsAre(ElementsAre("small"), IsEmpty()));
}

TEST_P(WeightGuardTest, WithoutAnIntervalItKnowsWhatIsReported) {
  WeightGuard guard(engine_);
  guard.Start({absl::ZeroDuration(), nullptr});
  EXPECT_EQ(guard.integrity().last_verified, absl::InfinitePast());
  guard.Report(engine_.Verify());
  EXPECT_THAT(guard.integrity().damaged, IsEmpty());
  FlipBit(weights_.data()[2][0]);
  guard.Report(engine_.Verify());
  EXPECT_THAT(guard.integrity().damaged, ElementsAre("other"));
  EXPECT_EQ(guard.integrity().passes, 0);
}

TEST_P(WeightGuardTest, ALongIntervalDoesNotDelayTheEnd) {
  WeightGuard guard(engine_);
  guard.Start({absl::Hours(10), nullptr});
}

TEST_P(WeightGuardTest, RowsAreReadAsTheyAreInTheBase) {
  const std::vector<std::byte> base = weights_.data()[0];
  const auto state = MakeState(3);
  engine_.Apply(state);
  ASSERT_NE(weights_.data()[0], base);
  const size_t row_bytes = 700 * DTypeSize(GetParam());
  for (const auto& [first, last] : std::vector<std::pair<int64_t, int64_t>>{
           {0, 1500}, {0, 1}, {1499, 1500}, {15, 17}, {7, 93}}) {
    std::vector<std::byte> rows((last - first) * row_bytes);
    ASSERT_THAT(engine_.ReadPristine(0, first, last, absl::MakeSpan(rows)), IsOk());
    EXPECT_TRUE(std::equal(rows.begin(), rows.end(), base.begin() + first * row_bytes))
        << first << " " << last;
  }
}

INSTANTIATE_TEST_SUITE_P(AllDTypes, WeightGuardTest,
                         ::testing::Values(DType::kF32, DType::kBF16, DType::kF16), DTypeTestName);

}  // namespace
}  // namespace shira
