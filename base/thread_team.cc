#include "base/thread_team.h"

#include <algorithm>
#include <chrono>

namespace shira {
namespace {

constexpr std::chrono::microseconds kLookOut(100);

// Where part `part` of a loop of `count` begins, and the one before ends. One large part for each
// thread, so that what it reads is one stretch of memory, and as many small ones, an eighth of the
// loop together, for the threads that finish first.
constexpr int64_t PartBegin(int64_t count, int64_t threads, int64_t part) {
  const auto large = [&](int64_t i) { return (7 * count * i + 8 * threads - 1) / (8 * threads); };
  if (part <= threads) return large(part);
  return large(threads) + (count - large(threads)) * (part - threads) / threads;
}

// A ticket: 48 bits of round, 16 of part.
constexpr int kRoundShift = 16;
constexpr uint64_t kClosed = (uint64_t{1} << kRoundShift) - 1;  // no loop has so many parts

constexpr uint64_t Ticket(uint64_t round, uint64_t part) { return round << kRoundShift | part; }
constexpr uint64_t RoundOf(uint64_t ticket) { return ticket >> kRoundShift; }
constexpr int64_t PartOf(uint64_t ticket) { return static_cast<int64_t>(ticket & kClosed); }

inline void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

// Looks until `ready` says so, or time is up. Returns the last answer.
template <typename Ready>
bool LookOut(Ready ready) {
  constexpr int kLooksPerClock = 64;
  const auto start = std::chrono::steady_clock::now();
  do {
    for (int i = 0; i < kLooksPerClock; ++i) {
      if (ready()) return true;
      Pause();
    }
  } while (std::chrono::steady_clock::now() - start < kLookOut);
  return ready();
}

}  // namespace

ThreadTeam::ThreadTeam(int threads) : ticket_(Ticket(0, kClosed)) {
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { RunWorker(); });
}

ThreadTeam::~ThreadTeam() {
  stop_.store(true);
  {
    absl::MutexLock lock(&mutex_);
    wake_.SignalAll();
  }
  for (std::thread& worker : workers_) worker.join();
}

int ThreadTeam::DefaultThreads() {
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

ParallelFor ThreadTeam::parallel_for() {
  return [this](int64_t count, Body body) { For(count, body); };
}

void ThreadTeam::For(int64_t count, Body body) {
  if (count <= 0) return;
  // Acquires what the loop before has left; released at the end.
  if (workers_.empty() || count == 1 || busy_.exchange(true, std::memory_order_acquire)) {
    body(0, count);
    return;
  }
  const uint64_t round = RoundOf(ticket_.load(std::memory_order_relaxed)) + 1;
  body_.store(&body, std::memory_order_release);
  count_.store(count, std::memory_order_release);
  done_.store(0, std::memory_order_relaxed);
  // Releases the data to the threads that see the round. Sequentially consistent, as is the load of
  // sleeping_: a worker counts itself as sleeping before it looks at the ticket for the last time,
  // so either it sees this round or this thread sees it sleeping.
  ticket_.store(Ticket(round, 0), std::memory_order_seq_cst);
  if (sleeping_.load(std::memory_order_seq_cst) > 0) {
    absl::MutexLock lock(&mutex_);
    wake_.SignalAll();
  }
  RunParts(round);
  // Acquires what the workers' parts have written. A worker may have lost its processor to another
  // program: then looking does not help.
  const auto all_done = [&] { return done_.load(std::memory_order_acquire) == parts(); };
  while (!LookOut(all_done)) std::this_thread::yield();
  ticket_.store(Ticket(round, kClosed), std::memory_order_relaxed);
  busy_.store(false, std::memory_order_release);
}

void ThreadTeam::RunParts(uint64_t round) {
  uint64_t ticket = ticket_.load(std::memory_order_acquire);
  while (RoundOf(ticket) == round) {
    const Body* body = body_.load(std::memory_order_acquire);
    const int64_t count = count_.load(std::memory_order_acquire);
    const int64_t part = PartOf(ticket);
    if (part >= parts()) return;
    if (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel,
                                       std::memory_order_acquire)) {
      continue;
    }
    const int64_t begin = PartBegin(count, threads(), part);
    const int64_t end = PartBegin(count, threads(), part + 1);
    if (begin < end) (*body)(begin, end);
    done_.fetch_add(1, std::memory_order_release);
    ticket = ticket_.load(std::memory_order_acquire);
  }
}

void ThreadTeam::RunWorker() {
  uint64_t round = 0;
  while (WaitForRound(round)) RunParts(round);
}

bool ThreadTeam::WaitForRound(uint64_t& round) {
  const auto has_news = [&] {
    return RoundOf(ticket_.load(std::memory_order_seq_cst)) != round ||
           stop_.load(std::memory_order_seq_cst);
  };
  if (!LookOut(has_news)) {
    absl::MutexLock lock(&mutex_);
    sleeping_.fetch_add(1, std::memory_order_seq_cst);
    while (!has_news()) wake_.Wait(&mutex_);
    sleeping_.fetch_sub(1, std::memory_order_seq_cst);
  }
  round = RoundOf(ticket_.load(std::memory_order_acquire));
  return !stop_.load(std::memory_order_seq_cst);
}

}  // namespace shira
