// File: adapters/switch/weight_guard.h
//
// Watches that the resident weights are what they have to be: hashes them in the background, a
// slice at a time, spread evenly over an interval, and remembers what it found. A switch waits for
// one slice at most (1 MiB, about 0.1 ms); readers of the weights do not wait at all.
//
//   WeightGuard guard(switch_engine);
//   guard.Start({.interval = absl::Minutes(10), .on_change = [](const auto& damaged) { ... }});

#ifndef SHIRA_ADAPTERS_SWITCH_WEIGHT_GUARD_H_
#define SHIRA_ADAPTERS_SWITCH_WEIGHT_GUARD_H_

#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "adapters/switch/switch_engine.h"

namespace shira {

// What is known of the weights.
struct WeightIntegrity {
  std::vector<std::string> damaged;                 // parameters, in the order of being found
  absl::Time last_verified = absl::InfinitePast();  // the end of the last check of all weights
  int64_t passes = 0;                               // such checks in the background
};

// Thread-safe.
class WeightGuard {
 public:
  // `engine` must outlive this object.
  explicit WeightGuard(const SwitchEngine& engine) : engine_(engine) {}
  // As Stop().
  ~WeightGuard();

  struct Options {
    // One check of all weights takes so long; it begins again at once. Zero: no background check.
    absl::Duration interval;
    // Called, from the thread that has found it, when a parameter is found to be damaged, and with
    // nothing when all are well again. No lock is held.
    std::function<void(const std::vector<std::string>& damaged)> on_change;
  };
  // REQUIRES: called at most once.
  void Start(Options options) ABSL_LOCKS_EXCLUDED(mutex_);

  // Ends the background check, within a slice: on_change is not called from it any more.
  // Idempotent.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

  // What SwitchEngine::Verify() has found. If all is well, earlier damage is forgotten: a switch
  // may have written over it.
  void Report(const VerifyReport& report) ABSL_LOCKS_EXCLUDED(mutex_);

  WeightIntegrity integrity() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Run(absl::Duration interval) ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether the parameter is intact, or it was told to stop. Pauses after each slice.
  bool Check(int64_t parameter, absl::Duration pause) ABSL_LOCKS_EXCLUDED(mutex_);
  // False if it is over.
  bool Pause(absl::Duration pause) ABSL_LOCKS_EXCLUDED(mutex_);
  void AddDamaged(const std::vector<std::string>& names) ABSL_LOCKS_EXCLUDED(mutex_);

  const SwitchEngine& engine_;
  std::function<void(const std::vector<std::string>&)> on_change_;  // constant after Start()

  mutable absl::Mutex mutex_;
  WeightIntegrity integrity_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace shira

#endif  // SHIRA_ADAPTERS_SWITCH_WEIGHT_GUARD_H_
