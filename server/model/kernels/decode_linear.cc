// One weight row after the other, each against all rows of x: one sequential stream per thread is
// what the prefetcher likes best. Every (row, output) pair has two accumulators of its own, even
// and odd elements of bfloat16 or halves of a chunk, that walk through the columns in order:
// nothing about a result depends on what else is computed.

#include "server/model/kernels/decode_linear.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "server/model/kernels/resident_types.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/model/kernels/decode_linear.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// After foreach_target.h.
#include <hwy/highway.h>

#include "server/model/kernels/vector_types-inl.h"

#ifndef SHIRA_SERVER_MODEL_KERNELS_DECODE_LINEAR_ONCE_
#define SHIRA_SERVER_MODEL_KERNELS_DECODE_LINEAR_ONCE_
namespace shira {
namespace {

// Columns are padded to the largest chunk: two vectors of 16 floats.
constexpr int64_t kMaxChunk = 32;

int64_t PaddedColumns(int64_t in) { return (in + kMaxChunk - 1) / kMaxChunk * kMaxChunk; }

struct LinearCall {
  const DecodeWeight& weight;
  const float* packed;  // [rows, padded_in], in the order in which chunks of weights widen
  int64_t padded_in;
  int64_t rows;
  float* y;  // [rows, out]
};

}  // namespace
}  // namespace shira
#endif  // SHIRA_SERVER_MODEL_KERNELS_DECODE_LINEAR_ONCE_

HWY_BEFORE_NAMESPACE();
namespace shira::HWY_NAMESPACE {
namespace {

struct Pair {
  FloatVector first;
  FloatVector second;
};

// A chunk of weights, 2 * Lanes() of them, as two vectors.
template <typename T>
HWY_INLINE Pair WidenChunk(const T* from) {
  return {Widen(from), Widen(from + FloatLanes())};
}
#if HWY_TARGET != HWY_SCALAR  // which has vectors of one element only
// Two bfloat16 in a 32-bit lane are floats once the other is out of the way: even elements first.
HWY_INLINE Pair WidenChunk(const BFloat16* from) {
  const FloatTag d;
  const hn::Rebind<uint32_t, FloatTag> d32;
  const hn::Repartition<uint16_t, decltype(d32)> d16;
  const auto bits = hn::BitCast(d32, hn::LoadU(d16, reinterpret_cast<const uint16_t*>(from)));
  return {hn::BitCast(d, hn::ShiftLeft<16>(bits)),
          hn::BitCast(d, hn::And(bits, hn::Set(d32, 0xFFFF0000u)))};
}
#endif

// The activations of a chunk in the order of WidenChunk(): which pairs are multiplied is all that
// matters.
template <typename T>
HWY_INLINE void PackChunk(T, const float* from, float* to) {
  const FloatTag d;
  hn::Store(hn::LoadU(d, from), d, to);
  hn::Store(hn::LoadU(d, from + hn::Lanes(d)), d, to + hn::Lanes(d));
}
#if HWY_TARGET != HWY_SCALAR
HWY_INLINE void PackChunk(BFloat16, const float* from, float* to) {
  const FloatTag d;
  FloatVector even, odd;
  hn::LoadInterleaved2(d, from, even, odd);
  hn::Store(even, d, to);
  hn::Store(odd, d, to + hn::Lanes(d));
}
#endif

template <typename T>
HWY_ATTR void PackRow(const float* x, int64_t in, int64_t padded_in, float* packed) {
  const int64_t chunk = 2 * static_cast<int64_t>(FloatLanes());
  int64_t i = 0;
  for (; i + chunk <= in; i += chunk) PackChunk(T(), x + i, packed + i);
  for (; i < padded_in; i += chunk) {
    float padded[kMaxChunk] = {};
    std::copy(x + std::min(i, in), x + std::min(i + chunk, in), padded);
    PackChunk(T(), padded, packed + i);
  }
}

// One weight row against kRows rows of packed activations: the sums.
template <int kRows, typename T>
HWY_INLINE void Dot(const T* HWY_RESTRICT weights, int64_t in, const float* HWY_RESTRICT packed,
                    int64_t padded_in, float* HWY_RESTRICT sums) {
  const FloatTag d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const float* HWY_RESTRICT x0 = packed;
  const float* HWY_RESTRICT x1 = packed + padded_in;
  const float* HWY_RESTRICT x2 = packed + 2 * padded_in;
  const float* HWY_RESTRICT x3 = packed + 3 * padded_in;
  FloatVector a0 = hn::Zero(d), a1 = a0, a2 = a0, a3 = a0;
  FloatVector b0 = a0, b1 = a0, b2 = a0, b3 = a0;
  const auto add = [&](const Pair& w, int64_t i) HWY_ATTR {
    a0 = hn::MulAdd(w.first, hn::Load(d, x0 + i), a0);
    b0 = hn::MulAdd(w.second, hn::Load(d, x0 + i + lanes), b0);
    if constexpr (kRows > 1) {
      a1 = hn::MulAdd(w.first, hn::Load(d, x1 + i), a1);
      b1 = hn::MulAdd(w.second, hn::Load(d, x1 + i + lanes), b1);
    }
    if constexpr (kRows > 2) {
      a2 = hn::MulAdd(w.first, hn::Load(d, x2 + i), a2);
      b2 = hn::MulAdd(w.second, hn::Load(d, x2 + i + lanes), b2);
    }
    if constexpr (kRows > 3) {
      a3 = hn::MulAdd(w.first, hn::Load(d, x3 + i), a3);
      b3 = hn::MulAdd(w.second, hn::Load(d, x3 + i + lanes), b3);
    }
  };
  int64_t i = 0;
  for (; i + 2 * lanes <= in; i += 2 * lanes) add(WidenChunk(weights + i), i);
  if (i < in) {
    T padded[kMaxChunk] = {};
    std::memcpy(padded, weights + i, (in - i) * sizeof(T));
    add(WidenChunk(padded), i);
  }
  sums[0] = SumOf(hn::Add(a0, b0));
  if constexpr (kRows > 1) sums[1] = SumOf(hn::Add(a1, b1));
  if constexpr (kRows > 2) sums[2] = SumOf(hn::Add(a2, b2));
  if constexpr (kRows > 3) sums[3] = SumOf(hn::Add(a3, b3));
}

// The same for 1 to 4 rows.
template <typename T>
HWY_INLINE void DotRows(int64_t rows, const T* weights, int64_t in, const float* packed,
                        int64_t padded_in, float* sums) {
  switch (rows) {
    case 1:
      return Dot<1>(weights, in, packed, padded_in, sums);
    case 2:
      return Dot<2>(weights, in, packed, padded_in, sums);
    case 3:
      return Dot<3>(weights, in, packed, padded_in, sums);
    default:
      return Dot<4>(weights, in, packed, padded_in, sums);
  }
}

template <typename T>
HWY_ATTR void OutputRange(const LinearCall& call, int64_t begin, int64_t end) {
  // Four rows of x stay in the first-level cache while they meet this many weight rows, which
  // then wait in the second-level cache for the next four.
  constexpr int64_t kTile = 8;
  constexpr int64_t kRowsAtOnce = 4;
  const DecodeWeight& weight = call.weight;
  for (int64_t out = begin; out < end; out += kTile) {
    const int64_t tile = std::min(kTile, end - out);
    const T* weights = static_cast<const T*>(weight.data) + out * weight.in;
    float sums[kTile][kMaxDecodeRows];
    for (int64_t row = 0; row < call.rows; row += kRowsAtOnce) {
      for (int64_t i = 0; i < tile; ++i) {
        DotRows(std::min(kRowsAtOnce, call.rows - row), weights + i * weight.in, weight.in,
                call.packed + row * call.padded_in, call.padded_in, sums[i] + row);
      }
    }
    for (int64_t i = 0; i < tile; ++i) {
      const float bias =
          weight.bias == nullptr ? 0.0f : ToFloat(static_cast<const T*>(weight.bias)[out + i]);
      for (int64_t row = 0; row < call.rows; ++row) {
        call.y[row * weight.out + out + i] = ToFloat(FromFloat<T>(sums[i][row] + bias));
      }
    }
  }
}

void Pack(DType dtype, const float* x, int64_t rows, int64_t in, int64_t padded_in, float* packed) {
  WithResidentType(dtype, [&]<typename T>(T) {
    for (int64_t row = 0; row < rows; ++row) {
      PackRow<T>(x + row * in, in, padded_in, packed + row * padded_in);
    }
  });
}

void Outputs(const LinearCall& call, int64_t begin, int64_t end) {
  WithResidentType(call.weight.dtype, [&]<typename T>(T) { OutputRange<T>(call, begin, end); });
}

}  // namespace
}  // namespace shira::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace shira {

HWY_EXPORT(Pack);
HWY_EXPORT(Outputs);

int64_t DecodeLinearScratch(int64_t rows, int64_t in) { return rows * PaddedColumns(in); }

void DecodeLinear(const DecodeWeight& weight, const float* x, int64_t rows, float* y,
                  float* scratch, const ParallelFor& parallel_for) {
  const int64_t padded_in = PaddedColumns(weight.in);
  HWY_DYNAMIC_DISPATCH(Pack)(weight.dtype, x, rows, weight.in, padded_in, scratch);
  const LinearCall call = {
      .weight = weight, .packed = scratch, .padded_in = padded_in, .rows = rows, .y = y};
  const auto outputs = HWY_DYNAMIC_DISPATCH(Outputs);
  parallel_for(weight.out, [&](int64_t begin, int64_t end) { outputs(call, begin, end); });
}

}  // namespace shira
#endif  // HWY_ONCE
