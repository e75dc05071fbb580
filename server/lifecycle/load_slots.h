// File: server/lifecycle/load_slots.h
//
// Bounds how many adapters are read from the disk at a time: what is being read is in memory, and
// counted by no budget yet.

#ifndef SHIRA_SERVER_LIFECYCLE_LOAD_SLOTS_H_
#define SHIRA_SERVER_LIFECYCLE_LOAD_SLOTS_H_

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"

namespace shira {

// Thread-safe. A thread that holds a slot must not wait for anything that takes one.
class LoadSlots {
 public:
  // REQUIRES: count > 0.
  explicit LoadSlots(int count) : free_(count) {}

  // Waits for a free slot, and gives it back when destroyed.
  class Slot {
   public:
    explicit Slot(LoadSlots& slots) : slots_(slots) { slots_.Take(); }
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;
    ~Slot() { slots_.Give(); }

   private:
    LoadSlots& slots_;
  };

 private:
  void Take() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    const auto is_free = [this] {
      mutex_.AssertHeld();
      return free_ > 0;
    };
    mutex_.Await(absl::Condition(&is_free));
    --free_;
  }
  void Give() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    ++free_;
  }

  absl::Mutex mutex_;
  int free_ ABSL_GUARDED_BY(mutex_);
};

// Calls work(i) once for each i below `count`, from at most `threads` threads, and waits for all of
// them. REQUIRES: threads > 0.
void ForEachInThreads(int64_t count, int threads, absl::FunctionRef<void(int64_t)> work);

}  // namespace shira

#endif  // SHIRA_SERVER_LIFECYCLE_LOAD_SLOTS_H_
