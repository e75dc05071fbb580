// File: bench/machine_limits.h
//
// What the machine can do at most, measured: the limits beside the figures of the forward pass.

#ifndef SHIRA_BENCH_MACHINE_LIMITS_H_
#define SHIRA_BENCH_MACHINE_LIMITS_H_

#include <cstdint>

#include "base/dtype.h"
#include "base/parallel.h"
#include "bench/timing.h"

namespace shira::bench {

// Reads one buffer over and over, as decoding reads the weights: give it the weights' size, so that
// the two find the same share of it in the caches.
class ReadProbe {
 public:
  ReadProbe(int64_t bytes, ParallelFor parallel_for);

  // One pass over the buffer. Bytes per second.
  double Run();

 private:
  const int64_t bytes_;
  const ParallelFor parallel_for_;
  const LargeBuffer buffer_;
};

// Multiplications and additions per second of `threads` threads that work in registers alone, with
// the fastest instructions of this processor for fp32 sums of products of `dtype`. These need not
// be those made for the dtype: some processors multiply bfloat16 at half the rate of fp32.
double PeakFlops(DType dtype, int threads, const ParallelFor& parallel_for);

}  // namespace shira::bench

#endif  // SHIRA_BENCH_MACHINE_LIMITS_H_
