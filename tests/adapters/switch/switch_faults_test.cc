// A switch that runs out of memory at any of its allocations: nothing is written, nothing is kept,
// and the same switch succeeds afterwards.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "adapters/switch/switch_engine.h"
#include "tests/testutil/adapter_builder.h"
#include "tests/testutil/plain_weights.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::MakeAdapter;
using ::shira::testing::MakeDelta;
using ::shira::testing::PlainWeights;
using ::shira::testing::RandomPositions;
using ::shira::testing::StatusIs;
using ::testing::HasSubstr;

using AdapterPtr = std::shared_ptr<const SparseAdapter>;

// Grants so many reservations and refuses the next.
struct Memory {
  int granted = 0;
  int grants = -1;  // -1: without end

  std::function<absl::Status(int64_t)> Reserve() {
    return [this](int64_t bytes) {
      EXPECT_GT(bytes, 0);
      if (granted == grants) return absl::ResourceExhaustedError("no memory left");
      ++granted;
      return absl::OkStatus();
    };
  }
};

class SwitchFaultsTest : public ::testing::Test {
 protected:
  AdapterPtr RandomAdapter(const std::string& name, uint32_t seed) const {
    std::mt19937 random(seed);
    std::vector<ParameterDelta> deltas;
    for (const auto& [parameter, rows, cols] : weights_.shapes()) {
      deltas.push_back(MakeDelta(parameter, rows, cols,
                                 RandomPositions(rows, cols, rows + cols / 8, random), random));
    }
    return MakeAdapter(name, std::move(deltas));
  }

  PlainWeights weights_{DType::kBF16, {{"q", 40, 24}, {"k", 8, 24}, {"norm", 1, 24}}, 1};
  const AdapterPtr first_ = RandomAdapter("first", 2);
  const AdapterPtr second_ = RandomAdapter("second", 3);
  Memory memory_;
  SwitchEngine engine_{weights_.memory(), {.reserve = memory_.Reserve()}};
};

TEST_F(SwitchFaultsTest, ARefusedAllocationAtAnyStepWritesNothing) {
  ASSERT_OK_AND_ASSIGN(const auto first, engine_.Compile({{first_, 1.0}}));
  engine_.Apply(first);
  const Sha256Digest before = weights_.Hash();

  int refused = 0;
  for (;; ++refused) {
    memory_ = {.grants = refused};
    const auto blend = engine_.Compile({{first_, 0.5}, {second_, 0.5}});
    if (blend.ok()) break;
    EXPECT_THAT(blend, StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("no memory left")));
    EXPECT_EQ(weights_.Hash(), before) << "after " << refused << " allocations";
    EXPECT_EQ(engine_.resident(), first);
    EXPECT_TRUE(engine_.Verify().matches_expected);
  }
  EXPECT_GE(refused, static_cast<int>(weights_.shapes().size())) << "one allocation per parameter";
}

TEST_F(SwitchFaultsTest, ASwitchSucceedsAfterItsAllocationsWereRefused) {
  PlainWeights fresh_weights = weights_;
  SwitchEngine fresh(fresh_weights.memory(), {});
  ASSERT_OK_AND_ASSIGN(const auto expected, fresh.Compile({{first_, 0.5}, {second_, 0.5}}));
  fresh.Apply(expected);

  const Sha256Digest base = weights_.Hash();
  absl::StatusOr<std::shared_ptr<const CompiledState>> blend = absl::UnknownError("");
  for (int grants = 0; !blend.ok(); ++grants) {
    memory_ = {.grants = grants};
    blend = engine_.Compile({{first_, 0.5}, {second_, 0.5}});
  }
  engine_.Apply(*blend);
  EXPECT_EQ(weights_.Hash(), fresh_weights.Hash());
  engine_.Apply(engine_.base());
  EXPECT_EQ(weights_.Hash(), base);
}

// Apply() and reverting ask for nothing: they cannot fail.
TEST_F(SwitchFaultsTest, ApplyingAsksForNoMemory) {
  ASSERT_OK_AND_ASSIGN(const auto first, engine_.Compile({{first_, 1.0}}));
  ASSERT_OK_AND_ASSIGN(const auto second, engine_.Compile({{second_, 1.0}}));
  memory_ = {.grants = 0};
  const Sha256Digest base = weights_.Hash();
  engine_.Apply(first);
  engine_.Apply(second);
  engine_.Apply(engine_.base());
  EXPECT_EQ(weights_.Hash(), base);
  EXPECT_EQ(memory_.granted, 0);
}

}  // namespace
}  // namespace shira
