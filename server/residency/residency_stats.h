// File: server/residency/residency_stats.h
//
// How often states were used, and what that took.

#ifndef SHIRA_SERVER_RESIDENCY_RESIDENCY_STATS_H_
#define SHIRA_SERVER_RESIDENCY_RESIDENCY_STATS_H_

#include <array>
#include <cstdint>

#include "base/duration_histogram.h"

namespace shira {

inline constexpr std::array<double, 12> kLoadSeconds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                                        0.1,   0.25,   0.5,   1.0,  2.5,   10.0};
using LoadDurations = DurationHistogram<kLoadSeconds>;

// Uses whose state was in memory, or had to be compiled from deltas that were, or whose files had to
// be read again first; the last two with the time that they took. Those of the base do not count.
struct UseCounts {
  int64_t warm_uses = 0;
  LoadDurations compilations;
  LoadDurations cold_starts;
};

}  // namespace shira

#endif  // SHIRA_SERVER_RESIDENCY_RESIDENCY_STATS_H_
