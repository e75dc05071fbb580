// File: base/thread_team.h
//
// A few threads that share short loops: a forward pass has a hundred and more, some of them of ten
// microseconds, so that starting one must cost less than a microsecond.
//
// Between two loops the workers look out for the next one for a short while, then they sleep: a
// team without work takes no processor time.

#ifndef SHIRA_BASE_THREAD_TEAM_H_
#define SHIRA_BASE_THREAD_TEAM_H_

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "base/parallel.h"

namespace shira {

// Thread-safe: a loop that is started while another runs, by another thread or from within the
// loop, runs on the thread that started it.
class ThreadTeam {
 public:
  // `threads` (> 0) counts the caller of For().
  explicit ThreadTeam(int threads);
  // REQUIRES: no loop is running.
  ~ThreadTeam();

  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  // As many as the process has processors.
  static int DefaultThreads();

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // As ParallelFor. The caller works too, and does all that the workers have not begun: it never
  // waits for one that sleeps.
  void For(int64_t count, absl::FunctionRef<void(int64_t begin, int64_t end)> body);

  // For(); the team must outlive it.
  ParallelFor parallel_for();

 private:
  using Body = absl::FunctionRef<void(int64_t, int64_t)>;

  int64_t parts() const { return 2 * static_cast<int64_t>(threads()); }  // of every loop
  void RunWorker();
  // Takes parts of the loop of this round until there are none left.
  void RunParts(uint64_t round);
  // Waits for another round than `round` and sets it. False when the team ends.
  bool WaitForRound(uint64_t& round);

  // A loop is cut into parts, which threads take in order. A ticket is the loop's round and its
  // next part; taking a part is a compare-and-swap of the whole ticket, so it fails when the round
  // is over. As long as a part that was taken is not done, For() does not return, and the loop's
  // data below does not change. A thread that is late may read the next loop's data before it
  // fails: therefore the data is atomic, and stored and loaded in the order that makes it fail.
  // For() closes the ticket, then releases new data, then releases a new ticket; who acquires new
  // data cannot swap an older ticket any more.
  alignas(64) std::atomic<uint64_t> ticket_;
  std::atomic<const Body*> body_{nullptr};
  std::atomic<int64_t> count_{0};
  alignas(64) std::atomic<int64_t> done_{0};  // parts, of the round

  alignas(64) std::atomic<bool> busy_{false};
  std::atomic<int> sleeping_{0};  // workers
  std::atomic<bool> stop_{false};
  absl::Mutex mutex_;
  absl::CondVar wake_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> workers_;
};

}  // namespace shira

#endif  // SHIRA_BASE_THREAD_TEAM_H_
