// File: server/lifecycle/lifecycle_stats.h
//
// What the life cycle counts of itself, for metrics.

#ifndef SHIRA_SERVER_LIFECYCLE_LIFECYCLE_STATS_H_
#define SHIRA_SERVER_LIFECYCLE_LIFECYCLE_STATS_H_

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/residency/residency_stats.h"

namespace shira {

struct LoadCounts {
  LoadDurations loads;  // that succeeded: read, checked and compiled
  int64_t failed_loads = 0;
  int64_t shared_loads = 0;  // that found another for the same at work, and waited for it
};

// Counts are since the start, everything else is of this moment.
struct LifecycleStats : LoadCounts, UseCounts {
  int64_t unloads = 0;  // of versions: asked for, or replaced by others
  int64_t evicted_states = 0;
  int64_t evicted_deltas = 0;

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

// Where loads are counted. Thread-safe.
class LoadBook {
 public:
  void BookLoad(absl::Duration duration) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    counts_.loads.Add(duration);
  }
  void BookFailure() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    ++counts_.failed_loads;
  }
  void BookShared() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    ++counts_.shared_loads;
  }
  LoadCounts counts() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return counts_;
  }

 private:
  mutable absl::Mutex mutex_;
  LoadCounts counts_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace shira

#endif  // SHIRA_SERVER_LIFECYCLE_LIFECYCLE_STATS_H_
