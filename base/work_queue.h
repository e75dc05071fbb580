// File: base/work_queue.h
//
// Work that may take long, on threads of its own: megabytes to tokenise, a disk that hangs. Those
// who answer calls hand it over and stay free for others.

#ifndef SHIRA_BASE_WORK_QUEUE_H_
#define SHIRA_BASE_WORK_QUEUE_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

namespace shira {

// Bounded, and shared fairly: owners take turns, and none of them has all the threads or all the
// places at once. Thread-safe.
class WorkQueue {
 public:
  struct Options {
    std::string name;  // of what is done here, for errors
    int threads = 2;
    int64_t max_waiting = 64;            // of all owners
    int64_t max_waiting_per_owner = 16;  // of one
  };

  explicit WorkQueue(Options options);
  // Returns when all work is done, also what waits.
  ~WorkQueue();

  // Runs `work` once, on another thread, in the owner's order if that has one thread. It must not
  // throw. RESOURCE_EXHAUSTED, and it never runs, when too much waits.
  absl::Status Add(std::string_view owner, std::function<void()> work) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Line {
    std::deque<std::function<void()>> waiting;
    int running = 0;
  };

  void Run() ABSL_LOCKS_EXCLUDED(mutex_);
  // The place in turns_ of the next owner that may have a thread, or the end.
  std::deque<std::string>::iterator Next() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  absl::Mutex mutex_;
  absl::flat_hash_map<std::string, Line> lines_ ABSL_GUARDED_BY(mutex_);  // none is empty and idle
  std::deque<std::string> turns_ ABSL_GUARDED_BY(mutex_);  // owners of lines in which work waits
  int64_t waiting_ ABSL_GUARDED_BY(mutex_) = 0;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;  // last: they use what is above
};

}  // namespace shira

#endif  // SHIRA_BASE_WORK_QUEUE_H_
