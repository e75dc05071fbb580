// File: bench/machine_limits.h
//
// What the machine can do at most, measured: the limits beside the figures.

#ifndef SHIRA_BENCH_MACHINE_LIMITS_H_
#define SHIRA_BENCH_MACHINE_LIMITS_H_

#include <cstddef>

#include "absl/types/span.h"
#include "base/dtype.h"
#include "base/parallel.h"

namespace shira::bench {

// The best instructions that a measurement may use; what the processor lacks is not used in any
// case. kAvx512 is without those for bfloat16.
enum class Instructions { kAll, kAvx512, kAvx2 };

// Reads the memory once, in order, each thread its own part. For the limit of decoding give it as
// many bytes as there are weights, so that the two find the same share of it in the caches.
void ReadOnce(absl::Span<const std::byte> memory, const ParallelFor& parallel_for);

// Multiplications and additions per second of `threads` threads that work in registers alone, with
// the fastest permitted instructions of this processor for fp32 sums of products of `dtype`. These
// need not be those made for the dtype: some processors multiply bfloat16 at half the rate of fp32.
double PeakFlops(DType dtype, Instructions permitted, int threads, const ParallelFor& parallel_for);

}  // namespace shira::bench

#endif  // SHIRA_BENCH_MACHINE_LIMITS_H_
