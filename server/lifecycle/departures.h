// File: server/lifecycle/departures.h
//
// What has to happen in the engine when content is gone, that is, when its last version
// has ended: states with it are removed from the weights, cached prompts that used it are
// dropped. That takes the engine's thread, and versions end on any thread, under any lock, the
// engine's own included. So it is done on a thread for that alone.

#ifndef SHIRA_SERVER_LIFECYCLE_DEPARTURES_H_
#define SHIRA_SERVER_LIFECYCLE_DEPARTURES_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/sha256.h"
#include "base/steady_clock.h"

namespace shira {

// Thread-safe.
class Departures {
 public:
  // `leave` is called for one adapter at a time, with no lock held, and may wait for other threads;
  // `idle` whenever nothing more is to leave.
  Departures(std::function<void(const Sha256Digest&)> leave, std::function<void()> idle);
  // As Stop().
  ~Departures();

  // Takes effect soon, in the order of calls. Waits for nothing; dropped after Stop().
  void Add(const Sha256Digest& adapter) ABSL_LOCKS_EXCLUDED(mutex_);

  // Waits until everything that was added before has left; false if it has not at the deadline, or
  // at Stop().
  bool Await(SteadyTime deadline) ABSL_LOCKS_EXCLUDED(mutex_);

  // Returns when `leave` is not called any more. Idempotent; one caller at a time.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Run() ABSL_LOCKS_EXCLUDED(mutex_);

  // Constant after construction.
  const std::function<void(const Sha256Digest&)> leave_;
  const std::function<void()> idle_;

  absl::Mutex mutex_;
  std::deque<Sha256Digest> waiting_ ABSL_GUARDED_BY(mutex_);
  int64_t added_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t left_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses what is above
};

}  // namespace shira

#endif  // SHIRA_SERVER_LIFECYCLE_DEPARTURES_H_
