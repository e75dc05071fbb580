// File: base/duration_histogram.h
//
// Counts of durations by size.

#ifndef SHIRA_BASE_DURATION_HISTOGRAM_H_
#define SHIRA_BASE_DURATION_HISTOGRAM_H_

#include <algorithm>
#include <array>
#include <cstdint>

#include "absl/time/time.h"

namespace shira {

// `kUpperBounds`: an array of the buckets' upper limits in seconds, inclusive and ascending; what is
// longer counts in one more bucket. Thread-compatible.
template <const auto& kUpperBounds>
struct DurationHistogram {
  static constexpr const auto& kBounds = kUpperBounds;

  std::array<int64_t, kUpperBounds.size() + 1> counts = {};  // each duration in one bucket
  int64_t count = 0;
  absl::Duration sum;

  void Add(absl::Duration duration) {
    const auto bound =
        std::lower_bound(kBounds.begin(), kBounds.end(), absl::ToDoubleSeconds(duration));
    ++counts[bound - kBounds.begin()];
    ++count;
    sum += duration;
  }
};

}  // namespace shira

#endif  // SHIRA_BASE_DURATION_HISTOGRAM_H_
