// File: bench/timing.h
//
// How the benchmarks measure: workloads in turn with the caches emptied before each, and the
// machine's bandwidth among them.

#ifndef SHIRA_BENCH_TIMING_H_
#define SHIRA_BENCH_TIMING_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "base/parallel.h"

namespace shira::bench {

// Seconds of one workload over its repetitions, in the order in which they ran.
struct Timing {
  std::vector<double> seconds;

  double median() const;
  double best() const;
  // The median of this workload's seconds over the other's in the same repetition: what it is worth
  // on a machine whose speed changes from minute to minute. REQUIRES: measured together.
  double MedianRatio(const Timing& other) const;
};

struct Workload {
  std::function<void()> prepare;  // not timed
  std::function<void()> work;
};

// Memory in large pages where the machine grants them, as the resident weights are, every byte
// touched.
class LargeBuffer {
 public:
  explicit LargeBuffer(size_t bytes);
  ~LargeBuffer();
  LargeBuffer(const LargeBuffer&) = delete;
  LargeBuffer& operator=(const LargeBuffer&) = delete;

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }  // `bytes`, in full pages

 private:
  size_t size_;
  std::byte* data_;
};

// Runs the workloads in turn, `repetitions` times after one warm-up. Before each one a buffer of
// twice the last-level cache is read, so that it finds nothing in the caches.
std::vector<Timing> MeasureInTurn(int repetitions, absl::Span<const Workload> workloads);

// Reads and writes back every cache line of a buffer beyond the caches: the machine's read+write
// bandwidth, as a workload to measure in turn with others.
class BandwidthProbe {
 public:
  explicit BandwidthProbe(ParallelFor parallel_for);

  Workload workload();
  // Moved by one run, reads and writes added up.
  double bytes() const;

 private:
  const ParallelFor parallel_for_;
  const LargeBuffer buffer_;
};

// "AMD EPYC ..., 2 threads" of this machine, from /proc/cpuinfo.
std::string MachineDescription();

}  // namespace shira::bench

#endif  // SHIRA_BENCH_TIMING_H_
