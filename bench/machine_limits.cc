#include "bench/machine_limits.h"

#include <immintrin.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <vector>

namespace shira::bench {
namespace {

std::atomic<uint64_t> sink;  // or the compiler would drop the loops

// A cache line; the compiler splits it where vectors are shorter.
typedef uint64_t Line __attribute__((vector_size(64)));

// Eight rows side by side, and what comes after them fetched meanwhile: faster than one row after
// the other, and as fast as any way that was tried.
__attribute__((target_clones("avx512f", "avx2", "default"), optimize("O3"))) uint64_t Sum(
    const Line* lines, int64_t count) {
  constexpr int64_t kRows = 8;
  constexpr int64_t kRowLines = 16;
  constexpr int64_t kAhead = 2 * kRows * kRowLines;
  Line sums[kRows] = {};
  for (int64_t i = 0; i + kRows * kRowLines <= count; i += kRows * kRowLines) {
    for (int64_t line = 0; line < kRowLines; ++line) {
#pragma GCC unroll 8
      for (int64_t row = 0; row < kRows; ++row) {
        __builtin_prefetch(lines + i + kAhead + kRows * line + row, 0, 2);
        sums[row] += lines[i + row * kRowLines + line];
      }
    }
  }
  Line sum = {};
  for (const Line& row : sums) sum += row;
  uint64_t total = 0;
  for (int i = 0; i < 8; ++i) total += sum[i];
  return total;
}

double Seconds(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Each kernel runs `rounds` rounds of independent products and returns their operations. The empty
// asm keeps the sums alive and in registers.
constexpr int kSums = 16;

__attribute__((target("avx512f,avx512bf16"))) double Bf16Rounds(int64_t rounds) {
  __m512 sums[kSums] = {};
  const __m512bh one = (__m512bh)_mm512_set1_epi16(0x3f80);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < kSums; ++j) {
      sums[j] = _mm512_dpbf16_ps(sums[j], one, one);
      asm volatile("" : "+v"(sums[j]));
    }
  }
  return static_cast<double>(rounds) * kSums * 32 * 2;
}

__attribute__((target("avx512f"))) double Avx512Rounds(int64_t rounds) {
  __m512 sums[kSums] = {};
  const __m512 one = _mm512_set1_ps(1.0f);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < kSums; ++j) {
      sums[j] = _mm512_fmadd_ps(one, one, sums[j]);
      asm volatile("" : "+v"(sums[j]));
    }
  }
  return static_cast<double>(rounds) * kSums * 16 * 2;
}

constexpr int kAvx2Sums = 12;  // of its 16 registers

__attribute__((target("avx2,fma"))) double Avx2Rounds(int64_t rounds) {
  __m256 sums[kAvx2Sums] = {};
  const __m256 one = _mm256_set1_ps(1.0f);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < kAvx2Sums; ++j) {
      sums[j] = _mm256_fmadd_ps(one, one, sums[j]);
      asm volatile("" : "+x"(sums[j]));
    }
  }
  return static_cast<double>(rounds) * kAvx2Sums * 8 * 2;
}

using Kernel = double (*)(int64_t rounds);

std::vector<Kernel> KernelsFor(DType dtype, Instructions permitted) {
  const bool avx512 = permitted != Instructions::kAvx2 && __builtin_cpu_supports("avx512f");
  const bool bf16 = permitted == Instructions::kAll && __builtin_cpu_supports("avx512bf16");
  std::vector<Kernel> kernels = {avx512 ? Avx512Rounds : Avx2Rounds};
  if (dtype == DType::kBF16 && bf16) kernels.push_back(Bf16Rounds);
  return kernels;
}

double FlopsOf(Kernel kernel, int threads, const ParallelFor& parallel_for) {
  constexpr int64_t kRounds = int64_t{1} << 20;  // 5 to 20 ms
  std::atomic<int64_t> operations = 0;
  const auto start = std::chrono::steady_clock::now();
  parallel_for(threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) operations += static_cast<int64_t>(kernel(kRounds));
  });
  return static_cast<double>(operations) / Seconds(start);
}

}  // namespace

void ReadOnce(absl::Span<const std::byte> memory, const ParallelFor& parallel_for) {
  constexpr int64_t kBlock = 4096;
  parallel_for(static_cast<int64_t>(memory.size()) / kBlock, [&](int64_t begin, int64_t end) {
    sink = Sum(reinterpret_cast<const Line*>(memory.data() + begin * kBlock),
               (end - begin) * kBlock / static_cast<int64_t>(sizeof(Line)));
  });
}

double PeakFlops(DType dtype, Instructions permitted, int threads,
                 const ParallelFor& parallel_for) {
  double best = 0;
  for (const Kernel kernel : KernelsFor(dtype, permitted)) {
    best = std::max(best, FlopsOf(kernel, threads, parallel_for));
  }
  return best;
}

}  // namespace shira::bench
