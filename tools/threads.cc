#include "tools/threads.h"

#include <algorithm>
#include <thread>
#include <vector>

namespace shira::tools {

ParallelFor ThreadsFor() {
  return [](int64_t count, absl::FunctionRef<void(int64_t, int64_t)> body) {
    const int64_t cores = std::max<int64_t>(1, std::thread::hardware_concurrency());
    const int64_t parts = std::min(cores, count);
    std::vector<std::thread> threads;
    for (int64_t part = 1; part < parts; ++part) {
      threads.emplace_back([=] { body(count * part / parts, count * (part + 1) / parts); });
    }
    if (parts > 0) body(0, count / parts);
    for (std::thread& thread : threads) thread.join();
  };
}

}  // namespace shira::tools
