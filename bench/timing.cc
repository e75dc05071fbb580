#include "bench/timing.h"

#include <sys/mman.h>
#include <unistd.h>

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

// Twice the last-level cache, where the system tells its size, so that nothing stays in it.
size_t EvictBytes() {
  constexpr int64_t kLeast = int64_t{192} << 20;
  return static_cast<size_t>(std::max<int64_t>(kLeast, 2 * sysconf(_SC_LEVEL3_CACHE_SIZE)));
}

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
  static const LargeBuffer& buffer = *new LargeBuffer(EvictBytes());
  uint64_t sum = 0;
  for (size_t i = 0; i < buffer.size(); i += 64) sum += static_cast<uint64_t>(buffer.data()[i]);
  static std::atomic<uint64_t> sink;  // or the compiler would drop the loop
  sink = sum;
}

constexpr int64_t kProbeBlock = 8192;

// One element of every line is read, changed and written, of eight rows side by side, with the
// block behind this one fetched meanwhile: the fastest way that was tried.
void IncrementBlock(std::byte* block) {
  constexpr int64_t kRows = 8;
  constexpr int64_t kRowBytes = kProbeBlock / kRows;
  for (int64_t at = 0; at < kRowBytes; at += 64) {
    for (int64_t row = 0; row < kRows; ++row) {
      std::byte* line = block + row * kRowBytes + at;
      __builtin_prefetch(line + kProbeBlock, 1, 3);
      ++*reinterpret_cast<uint64_t*>(line);
    }
  }
}

}  // namespace

LargeBuffer::LargeBuffer(size_t bytes) {
  constexpr size_t kLargePage = size_t{2} << 20;
  size_ = (bytes + kLargePage - 1) / kLargePage * kLargePage;
  data_ = static_cast<std::byte*>(std::aligned_alloc(kLargePage, size_));
  madvise(data_, size_, MADV_HUGEPAGE);  // advice: may fail
  std::memset(data_, 1, size_);
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
    : parallel_for_(std::move(parallel_for)), buffer_(EvictBytes()) {}

Workload BandwidthProbe::workload() {
  return {.prepare = nullptr, .work = [this] {
            const auto blocks = static_cast<int64_t>(buffer_.size() / kProbeBlock);
            parallel_for_(blocks, [&](int64_t begin, int64_t end) {
              for (int64_t i = begin; i < end; ++i)
                IncrementBlock(buffer_.data() + i * kProbeBlock);
            });
          }};
}

double BandwidthProbe::bytes() const { return 2.0 * static_cast<double>(buffer_.size()); }

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
