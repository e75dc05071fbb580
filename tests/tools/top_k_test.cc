#include "tools/top_k.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "tests/testutil/status_matchers.h"

namespace shira::tools {
namespace {

using ::shira::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(TopKTest, TakesTheFirstOfEqualMagnitudes) {
  const std::vector<float> values = {1, -3, 2, 3, -2, 2, 0};
  EXPECT_THAT(LargestPositions(values, 1), ElementsAre(1));
  EXPECT_THAT(LargestPositions(values, 3), ElementsAre(1, 2, 3));
  EXPECT_THAT(LargestPositions(values, 4), ElementsAre(1, 2, 3, 4));
}

TEST(TopKTest, NeverTakesZeros) {
  EXPECT_THAT(LargestPositions(std::vector<float>{0, -0.0f, 1, 0}, 3), ElementsAre(2));
  EXPECT_THAT(LargestPositions(std::vector<float>{0, -0.0f}, 1), IsEmpty());
  const float tiny = std::numeric_limits<float>::denorm_min();
  EXPECT_THAT(LargestPositions(std::vector<float>{0, tiny, 0, -tiny, 2 * tiny}, 2),
              ElementsAre(1, 4));
}

TEST(TopKTest, EqualsAStableSortOfMagnitudes) {
  std::mt19937 random(1);
  for (const float step : {0.25f, 1e-3f, 1e-30f}) {
    std::normal_distribution<float> normal;
    std::vector<float> values(5000);
    for (float& value : values) value = std::round(normal(random) / 0.25f) * step;
    std::vector<int64_t> order(values.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return std::abs(values[a]) > std::abs(values[b]);
    });
    for (const int64_t count : {1, 7, 500, 2500, 4999, 5000}) {
      std::vector<int64_t> expected(order.begin(), order.begin() + count);
      std::erase_if(expected, [&](int64_t i) { return values[i] == 0; });
      std::sort(expected.begin(), expected.end());
      EXPECT_EQ(LargestPositions(values, count), expected) << count;
    }
  }
}

TEST(TopKTest, SaysWhichDeltaIsNotFinite) {
  const std::vector<float> values = {1, 2, 3, std::nanf(""), 5, 6};
  EXPECT_THAT(Sparsify("x.weight", 2, 3, values, 0.5),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("x.weight, row 1, column 0")));
}

TEST(TopKTest, KeepsAtLeastOneEntryAndRoundsTheirNumber) {
  EXPECT_EQ(EntriesAtDensity(1e-9, 100), 1);
  EXPECT_EQ(EntriesAtDensity(0.015, 100), 2);
  EXPECT_EQ(EntriesAtDensity(1, 100), 100);
}

}  // namespace
}  // namespace shira::tools
