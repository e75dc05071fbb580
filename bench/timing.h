// File: bench/timing.h
//
// How the benchmarks measure: repeated runs with the caches emptied before each, medians, and the
// machine's bandwidth in the same run.

#ifndef SHIRA_BENCH_TIMING_H_
#define SHIRA_BENCH_TIMING_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "base/parallel.h"

namespace shira::bench {

// Seconds of one workload over its repetitions.
struct Timing {
  std::vector<double> seconds;  // ascending

  double median() const { return seconds[seconds.size() / 2]; }
  double best() const { return seconds.front(); }
};

// Runs `prepare` and then `work` `repetitions` times (after one warm-up) and times `work`. Before
// each, a buffer larger than the last-level cache is read and written, so that `work` finds nothing
// in the caches.
Timing MeasureCold(int repetitions, absl::FunctionRef<void()> prepare,
                   absl::FunctionRef<void()> work);

// Bytes per second, read and write added up, of reading and writing back every cache line of a
// large buffer.
double MeasureReadWriteBandwidth(const ParallelFor& parallel_for);

// "AMD EPYC ..., 2 threads" of this machine, from /proc/cpuinfo.
std::string MachineDescription();

}  // namespace shira::bench

#endif  // SHIRA_BENCH_TIMING_H_
