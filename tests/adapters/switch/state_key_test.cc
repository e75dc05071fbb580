#include "adapters/switch/state_key.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::StatusIs;
using ::testing::HasSubstr;

const Sha256Digest kA = Sha256::Of("a");
const Sha256Digest kB = Sha256::Of("b");

TEST(StateKeyTest, IsTheSameForEveryOrderOfTerms) {
  ASSERT_OK_AND_ASSIGN(const StateKey ab, StateKey::Create({{kA, 0.5}, {kB, 2.0}}));
  ASSERT_OK_AND_ASSIGN(const StateKey ba, StateKey::Create({{kB, 2.0}, {kA, 0.5}}));
  EXPECT_EQ(ab, ba);
  EXPECT_EQ(ab.digest(), ba.digest());
}

TEST(StateKeyTest, DependsOnAdaptersAndWeights) {
  ASSERT_OK_AND_ASSIGN(const StateKey a, StateKey::Create({{kA, 1.0}}));
  ASSERT_OK_AND_ASSIGN(const StateKey b, StateKey::Create({{kB, 1.0}}));
  ASSERT_OK_AND_ASSIGN(const StateKey heavier, StateKey::Create({{kA, std::nextafter(1.0, 2.0)}}));
  EXPECT_FALSE(a == b);
  EXPECT_FALSE(a == heavier);
  EXPECT_FALSE(a == StateKey());
}

TEST(StateKeyTest, OfNoTermsIsTheBase) {
  ASSERT_OK_AND_ASSIGN(const StateKey none, StateKey::Create({}));
  EXPECT_TRUE(none.is_base());
  EXPECT_EQ(none, StateKey());
}

TEST(StateKeyTest, ContainsItsAdaptersAlone) {
  ASSERT_OK_AND_ASSIGN(const StateKey key, StateKey::Create({{kA, 0.0}}));
  EXPECT_TRUE(key.Contains(kA));
  EXPECT_FALSE(key.Contains(kB));
  EXPECT_FALSE(StateKey().Contains(kA));
}

TEST(StateKeyTest, TakesMinusZeroForZero) {
  ASSERT_OK_AND_ASSIGN(const StateKey plus, StateKey::Create({{kA, 0.0}}));
  ASSERT_OK_AND_ASSIGN(const StateKey minus, StateKey::Create({{kA, -0.0}}));
  EXPECT_EQ(plus, minus);
}

TEST(StateKeyTest, RefusesWeightsThatAreNotFinite) {
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    EXPECT_THAT(StateKey::Create({{kA, bad}}),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("finite weight")));
  }
}

TEST(StateKeyTest, RefusesAnAdapterTwice) {
  EXPECT_THAT(StateKey::Create({{kA, 1.0}, {kB, 1.0}, {kA, 0.5}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("occurs twice")));
}

}  // namespace
}  // namespace shira
