// File: server/lifecycle/lifecycle_stats.h
//
// What the registry counts of itself, for metrics.

#ifndef SHIRA_SERVER_LIFECYCLE_LIFECYCLE_STATS_H_
#define SHIRA_SERVER_LIFECYCLE_LIFECYCLE_STATS_H_

#include <array>
#include <cstdint>

#include "base/duration_histogram.h"

namespace shira {

inline constexpr std::array<double, 12> kLoadSeconds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                                        0.1,   0.25,   0.5,   1.0,  2.5,   10.0};
using LoadDurations = DurationHistogram<kLoadSeconds>;

// Counts are since the registry was made, everything else is of this moment.
struct LifecycleStats {
  LoadDurations loads;  // that succeeded: read, checked and compiled
  int64_t failed_loads = 0;
  int64_t shared_loads = 0;  // that found another for the same at work, and waited for it
  int64_t unloads = 0;       // of versions: asked for, or replaced by others
  // Uses whose state was in memory, or had to be compiled from deltas that were, or whose files had
  // to be read again first; the last two with the time that they took.
  int64_t warm_uses = 0;
  LoadDurations compilations;
  LoadDurations cold_starts;
  int64_t evicted_states = 0;
  int64_t evicted_deltas = 0;

  int64_t ready = 0;  // versions
  int64_t failed = 0;
  int64_t retiring = 0;  // versions that are only there for the requests that use them
  int64_t pinned = 0;
  int64_t aliases = 0;
  int64_t in_memory = 0;  // READY ones whose state is in memory
  int64_t memory_in_use_bytes = 0;
  int64_t memory_budget_bytes = 0;
  int64_t upload_in_use_bytes = 0;  // complete uploads, and what running ones have announced
  int64_t upload_quota_bytes = 0;   // 0: no uploads
  // The state file could not be written since this many changes.
  int64_t unsaved_changes = 0;
};

}  // namespace shira

#endif  // SHIRA_SERVER_LIFECYCLE_LIFECYCLE_STATS_H_
