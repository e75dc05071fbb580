#include "bench/timing.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <thread>

#include "absl/strings/str_format.h"

namespace shira::bench {
namespace {

// Above the last-level cache of the machines that we know (up to 96 MB per complex would need more;
// say so in the results then).
constexpr size_t kEvictBytes = size_t{192} << 20;

double Seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Reads, and does not write: lines left dirty would be written back during the measured work.
void EvictCaches() {
  static const LargeBuffer& buffer = *new LargeBuffer(kEvictBytes);
  uint64_t sum = 0;
  for (size_t i = 0; i < kEvictBytes; i += 64) sum += static_cast<uint64_t>(buffer.data()[i]);
  static std::atomic<uint64_t> sink;  // or the compiler would drop the loop
  sink = sum;
}

}  // namespace

LargeBuffer::LargeBuffer(size_t bytes) {
  constexpr size_t kLargePage = size_t{2} << 20;
  const size_t size = (bytes + kLargePage - 1) / kLargePage * kLargePage;
  data_ = static_cast<std::byte*>(std::aligned_alloc(kLargePage, size));
  madvise(data_, size, MADV_HUGEPAGE);  // advice: may fail
  std::memset(data_, 1, size);
}

LargeBuffer::~LargeBuffer() { std::free(data_); }

double Timing::median() const { return Median(seconds); }

double Timing::best() const { return *std::min_element(seconds.begin(), seconds.end()); }

double Timing::MedianRatio(const Timing& other) const {
  std::vector<double> ratios;
  for (size_t i = 0; i < seconds.size(); ++i) ratios.push_back(seconds[i] / other.seconds[i]);
  return Median(std::move(ratios));
}

std::vector<Timing> MeasureInTurn(int repetitions, absl::Span<const Workload> workloads) {
  std::vector<Timing> timings(workloads.size());
  for (int repetition = -1; repetition < repetitions; ++repetition) {
    for (size_t i = 0; i < workloads.size(); ++i) {
      if (workloads[i].prepare) workloads[i].prepare();
      EvictCaches();
      const double seconds = Seconds(workloads[i].work);
      if (repetition >= 0) timings[i].seconds.push_back(seconds);
    }
  }
  return timings;
}

BandwidthProbe::BandwidthProbe(ParallelFor parallel_for)
    : parallel_for_(std::move(parallel_for)), buffer_(kEvictBytes) {}

Workload BandwidthProbe::workload() {
  return {.prepare = nullptr, .work = [this] {
            uint64_t* words = reinterpret_cast<uint64_t*>(buffer_.data());
            parallel_for_(kEvictBytes / 64, [&](int64_t begin, int64_t end) {
              for (int64_t i = begin * 8; i < end * 8; ++i) words[i] += 1;
            });
          }};
}

double BandwidthProbe::bytes() const { return 2.0 * kEvictBytes; }

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
