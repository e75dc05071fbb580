// File: bench/peak.h
//
// What the machine can do at most, as workloads to measure in turn with others.

#ifndef SHIRA_BENCH_PEAK_H_
#define SHIRA_BENCH_PEAK_H_

#include <cstddef>

#include "absl/types/span.h"
#include "base/parallel.h"
#include "bench/timing.h"

namespace shira::bench {

// fp32 multiply-adds in registers, on every thread of the pool at once: `ranges` equal parts.
Workload MultiplyAddProbe(const ParallelFor& parallel_for, int64_t ranges);
// Of one run of that workload.
double MultiplyAddProbeFlops(int64_t ranges);

// Reads the memory once, in order, each thread its own part.
Workload ReadProbe(const ParallelFor& parallel_for, absl::Span<const std::byte> memory);

}  // namespace shira::bench

#endif  // SHIRA_BENCH_PEAK_H_
