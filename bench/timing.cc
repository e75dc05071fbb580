#include "bench/timing.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <thread>

#include "absl/strings/str_format.h"

namespace shira::bench {
namespace {

// Above the last-level cache of the machines that we know (up to 96 MB per complex would need more;
// say so in the results then).
constexpr size_t kEvictBytes = size_t{192} << 20;

double Seconds(absl::FunctionRef<void()> work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void EvictCaches() {
  static std::vector<uint64_t>& buffer = *new std::vector<uint64_t>(kEvictBytes / sizeof(uint64_t));
  for (size_t i = 0; i < buffer.size(); i += 8) ++buffer[i];
}

}  // namespace

Timing MeasureCold(int repetitions, absl::FunctionRef<void()> prepare,
                   absl::FunctionRef<void()> work) {
  Timing timing;
  for (int i = -1; i < repetitions; ++i) {
    prepare();
    EvictCaches();
    const double seconds = Seconds(work);
    if (i >= 0) timing.seconds.push_back(seconds);
  }
  std::sort(timing.seconds.begin(), timing.seconds.end());
  return timing;
}

double MeasureReadWriteBandwidth(const ParallelFor& parallel_for) {
  std::vector<uint64_t> buffer(kEvictBytes / sizeof(uint64_t));
  const int64_t lines = static_cast<int64_t>(buffer.size() / 8);
  const Timing timing = MeasureCold(
      7, [] {},
      [&] {
        parallel_for(lines, [&](int64_t begin, int64_t end) {
          for (int64_t line = begin; line < end; ++line) {
            for (int i = 0; i < 8; ++i) buffer[line * 8 + i] += 1;
          }
        });
      });
  return 2.0 * kEvictBytes / timing.median();
}

std::string MachineDescription() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  std::string model = "unknown processor";
  for (std::string line; std::getline(cpuinfo, line);) {
    if (line.rfind("model name", 0) == 0) {
      model = line.substr(line.find(": ") + 2);
      break;
    }
  }
  return absl::StrFormat("%s, %d cores", model, std::thread::hardware_concurrency());
}

}  // namespace shira::bench
