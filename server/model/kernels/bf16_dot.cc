#include "server/model/kernels/bf16_dot.h"

#include <hwy/detect_compiler_arch.h>

namespace shira {
namespace {

std::optional<bool> use_for_test;

bool Pays() {
#if HWY_ARCH_X86
  return __builtin_cpu_is("amd");
#else
  return false;
#endif
}

}  // namespace

bool CpuHasBf16Dot() {
#if HWY_ARCH_X86
  return __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

bool UseBf16Dot() {
  static const bool use = CpuHasBf16Dot() && Pays();
  return use_for_test.value_or(use);
}

void SetUseBf16DotForTest(std::optional<bool> use) { use_for_test = use; }

}  // namespace shira
