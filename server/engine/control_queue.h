// File: server/engine/control_queue.h
//
// Work that other threads hand to the engine's, to be run between two steps: it needs the weights,
// or the sequences, to hold still.

#ifndef SHIRA_SERVER_ENGINE_CONTROL_QUEUE_H_
#define SHIRA_SERVER_ENGINE_CONTROL_QUEUE_H_

#include <deque>
#include <functional>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "base/steady_clock.h"

namespace shira {

// Thread-safe but for RunAll().
class ControlQueue {
 public:
  // `mutex` is the engine's: it waits for work on one condition over everything that it guards.
  explicit ControlQueue(absl::Mutex& mutex) : mutex_(mutex) {}

  // Runs `operation` on the engine's thread (which must not be the caller's) and returns when it is
  // done. DEADLINE_EXCEEDED if its turn had not come at `deadline`, UNAVAILABLE if the engine
  // stopped before: then it did not run and never will.
  absl::Status Run(std::function<void()> operation, SteadyTime deadline)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // The same without waiting; dropped if the engine stops.
  void Post(std::function<void()> operation) ABSL_LOCKS_EXCLUDED(mutex_);

  bool empty() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return entries_.empty(); }

  // Tells the thread-safety analysis that the engine's mutex is this object's.
  void AssertMutexHeld() const ABSL_ASSERT_EXCLUSIVE_LOCK(mutex_) { mutex_.AssertHeld(); }

  // Runs what is queued. Engine's thread.
  void RunAll() ABSL_LOCKS_EXCLUDED(mutex_);

  // Refuses what is queued, and everything from now on.
  void Close() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  enum class Progress { kQueued, kRunning, kDone, kRefused };
  struct Entry {
    std::function<void()> operation;
    Progress progress = Progress::kQueued;  // guarded by mutex_
  };

  absl::Mutex& mutex_;
  std::deque<std::shared_ptr<Entry>> entries_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace shira

#endif  // SHIRA_SERVER_ENGINE_CONTROL_QUEUE_H_
