#include "server/lifecycle/load_slots.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

namespace shira {

void ForEachInThreads(int64_t count, int threads, absl::FunctionRef<void(int64_t)> work) {
  std::atomic<int64_t> next = 0;
  const auto run = [&] {
    for (int64_t i = next++; i < count; i = next++) work(i);
  };
  std::vector<std::thread> others;
  for (int64_t i = 1; i < std::min<int64_t>(count, threads); ++i) others.emplace_back(run);
  run();
  for (std::thread& thread : others) thread.join();
}

}  // namespace shira
