#include "base/duration_histogram.h"

#include <gtest/gtest.h>

#include <array>

namespace shira {
namespace {

constexpr std::array<double, 3> kSeconds = {0.001, 0.0025, 60.0};

TEST(DurationHistogramTest, CountsEachDurationInTheFirstBucketThatHoldsIt) {
  DurationHistogram<kSeconds> histogram;
  histogram.Add(absl::ZeroDuration());
  histogram.Add(absl::Milliseconds(1));
  histogram.Add(absl::Milliseconds(1.5));
  histogram.Add(absl::Hours(1));
  EXPECT_EQ(histogram.counts[0], 2);
  EXPECT_EQ(histogram.counts[1], 1);
  EXPECT_EQ(histogram.counts.back(), 1);
  EXPECT_EQ(histogram.count, 4);
  EXPECT_EQ(histogram.sum, absl::Hours(1) + absl::Milliseconds(2.5));
  // A bound itself belongs to its bucket.
  histogram.Add(absl::Milliseconds(2.5));
  EXPECT_EQ(histogram.counts[1], 2);
}

}  // namespace
}  // namespace shira
