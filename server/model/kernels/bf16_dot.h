// File: server/model/kernels/bf16_dot.h
//
// Whether linear layers in bfloat16 use the CPU's dot-product instruction (AVX-512 BF16's
// vdpbf16ps) or widen to fp32 and use fused multiply-add. The choice is made once per process: the
// two round differently.

#ifndef SHIRA_SERVER_MODEL_KERNELS_BF16_DOT_H_
#define SHIRA_SERVER_MODEL_KERNELS_BF16_DOT_H_

#include <optional>

namespace shira {

// Whether this CPU has the instruction.
bool CpuHasBf16Dot();

// Whether to use it: where it is there and pays. AMD's cores (Zen 4 on) do twice as many products
// with it as with multiply-add; Intel's, measured on Sapphire Rapids, half as many.
bool UseBf16Dot();

// For tests and benchmarks: overrides UseBf16Dot() until called with nullopt. Not while a kernel
// runs. REQUIRES: CpuHasBf16Dot() if true.
void SetUseBf16DotForTest(std::optional<bool> use);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_KERNELS_BF16_DOT_H_
