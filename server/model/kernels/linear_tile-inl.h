// File: server/model/kernels/linear_tile-inl.h
//
// The register tile of linear layers: a few weight rows against a few rows of activations, one
// accumulator vector for each pair, which walks through the columns in order. Nothing about a sum
// depends on the tile that it is in. Included once per target, after highway.h.

// The guard toggles: foreach_target.h includes the kernel's file, and with it this one, again.
#if defined(SHIRA_SERVER_MODEL_KERNELS_LINEAR_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SHIRA_SERVER_MODEL_KERNELS_LINEAR_TILE_INL_H_
#undef SHIRA_SERVER_MODEL_KERNELS_LINEAR_TILE_INL_H_
#else
#define SHIRA_SERVER_MODEL_KERNELS_LINEAR_TILE_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/float_types.h"
#include "server/model/kernels/linear_call.h"
#include "server/model/kernels/vector_types-inl.h"

// Highway 1.0.3 knows no AVX-512 BF16; a CPU that has it has all of AVX3. Nothing but Bf16Dot uses
// it: the other code of that target contains no bfloat16 type that a compiler could use it for.
#undef SHIRA_BF16_DOT
#undef SHIRA_TILE_BEFORE_NAMESPACE
#if HWY_TARGET == HWY_AVX3
#define SHIRA_BF16_DOT 1
#define SHIRA_TILE_BEFORE_NAMESPACE()               \
  HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512bf16") \
  static_assert(true, "For requiring trailing semicolon")
#else
#define SHIRA_BF16_DOT 0
#define SHIRA_TILE_BEFORE_NAMESPACE() HWY_BEFORE_NAMESPACE()
#endif

SHIRA_TILE_BEFORE_NAMESPACE();
namespace shira::HWY_NAMESPACE {

// Vectors that the registers hold.
inline constexpr int kRegisters = HWY_MAX_BYTES >= 64 ? 32 : 16;

// The most rows of activations in a tile: of one among others, and of one that is alone, which
// reads weights once where two would read them twice. With few registers the sums of 6 times 2
// leave none for constants.
template <class Products>
inline constexpr int kMaxTileRows = kRegisters == 32 ? 6 : 6 - Products::kConstants;
template <class Products>
inline constexpr int kMaxLoneTileRows = kRegisters == 32 ? 8 : kMaxTileRows<Products>;

// Weight rows of a tile of `rows` rows of activations: as many as the registers hold the sums of,
// beside a vector of each row of the fewer kind, one of the other, and the products' constants. One
// row of activations alone would leave the multipliers waiting for its sums.
template <class Products>
constexpr int OutsAtOnce(int64_t rows) {
  if (rows == 1) return 8;
  return 4 * rows + std::min<int64_t>(4, rows) + 1 + Products::kConstants <= kRegisters ? 4 : 2;
}

// What follows are the kinds of products: which elements a step takes and in which order
// activations are packed to meet them. Packed activations of a tile lie vector by vector, of its
// rows in turn. Each kind has
//   Weight, Activation  element types in memory and packed
//   kConstants          vectors that stay in registers, beside sums, weights and activations
//   Step(), Lanes()     weights that one step takes; activations of a packed vector
//   Pack()              Step() activations, fp32, to packed vectors `stride` elements apart
//   Add()               one step of a tile: sums[o][r] += weights of row o * activations of row r
//   Unit                what a thread needs to multiply

// Vectors need nothing.
template <class Products>
struct VectorUnit {};

// Calls add(i, j, kept(i), loaded(j)) for all i < kKept and j < kLoaded. All kept vectors stay in
// registers meanwhile, and one that was loaded.
template <int kKept, int kLoaded, typename Kept, typename Loaded, typename Add>
HWY_INLINE void ForEachPair(const Kept& kept, const Loaded& loaded, const Add& add) {
  FloatVector all[kKept];
  HWY_UNROLL(8)
  for (int i = 0; i < kKept; ++i) all[i] = kept(i);
  HWY_UNROLL(8)
  for (int j = 0; j < kLoaded; ++j) {
    const FloatVector one = loaded(j);
    HWY_UNROLL(8)
    for (int i = 0; i < kKept; ++i) add(i, j, all[i], one);
  }
}

// A vector of every weight row, loaded by kLoad, times a vector of every activation row. Those of
// the activations are kept beside the sums, one of the weights and a mask; or, where they are too
// many for that, those of the weights.
template <auto kLoad, int kOuts, int kRows, typename T>
HWY_INLINE void MultiplyAdd(const T* HWY_RESTRICT weights, int64_t weight_stride,
                            const float* HWY_RESTRICT x, FloatVector (&sums)[kOuts][kRows]) {
  const auto weight = [&](int o) HWY_ATTR { return kLoad(weights + o * weight_stride); };
  const auto activation = [&](int r)
                              HWY_ATTR { return hn::Load(FloatTag(), x + r * FloatLanes()); };
  const auto add = [&](int o, int r, FloatVector w, FloatVector a)
                       HWY_ATTR { sums[o][r] = hn::MulAdd(w, a, sums[o][r]); };
  if constexpr (kRows <= kOuts || kOuts * kRows + kRows + 2 <= kRegisters) {
    ForEachPair<kRows, kOuts>(activation, weight,
                              [&](int r, int o, FloatVector a, FloatVector w)
                                  HWY_ATTR { add(o, r, w, a); });
  } else {
    ForEachPair<kOuts, kRows>(weight, activation, add);
  }
}

// fp32 multiply-add of widened weights, one vector a step.
template <typename T>
struct FloatProducts {
  using Weight = T;
  using Activation = float;
  using Unit = VectorUnit<FloatProducts>;
  static constexpr int kConstants = 0;

  static HWY_INLINE int64_t Lanes() { return static_cast<int64_t>(FloatLanes()); }
  static HWY_INLINE int64_t Step() { return Lanes(); }

  static HWY_INLINE void Pack(const float* from, float* to, int64_t) {
    hn::Store(hn::LoadU(FloatTag(), from), FloatTag(), to);
  }

  static HWY_INLINE FloatVector All(const T* from) { return Widen(from); }

  template <int kOuts, int kRows>
  static HWY_INLINE void Add(const T* HWY_RESTRICT weights, int64_t weight_stride,
                             const float* HWY_RESTRICT x, FloatVector (&sums)[kOuts][kRows]) {
    MultiplyAdd<All>(weights, weight_stride, x, sums);
  }
};

#if HWY_TARGET != HWY_SCALAR  // which has vectors of one element only
// Two bfloat16 in a 32-bit lane are floats once the other is out of the way: first the even
// elements of a step, then the odd ones.
template <>
struct FloatProducts<BFloat16> {
  using Weight = BFloat16;
  using Activation = float;
  using Unit = VectorUnit<FloatProducts>;
  static constexpr int kConstants = 1;  // the mask

  static HWY_INLINE int64_t Lanes() { return static_cast<int64_t>(FloatLanes()); }
  static HWY_INLINE int64_t Step() { return 2 * Lanes(); }

  static HWY_INLINE void Pack(const float* from, float* to, int64_t stride) {
    const FloatTag d;
    FloatVector even, odd;
    hn::LoadInterleaved2(d, from, even, odd);
    hn::Store(even, d, to);
    hn::Store(odd, d, to + stride);
  }

  static HWY_INLINE auto Bits(const BFloat16* from) {
    const hn::Rebind<uint32_t, FloatTag> d32;
    const hn::Repartition<uint16_t, decltype(d32)> d16;
    return hn::BitCast(d32, hn::LoadU(d16, reinterpret_cast<const uint16_t*>(from)));
  }
  static HWY_INLINE FloatVector Even(const BFloat16* from) {
    return hn::BitCast(FloatTag(), hn::ShiftLeft<16>(Bits(from)));
  }
  static HWY_INLINE FloatVector Odd(const BFloat16* from) {
    const hn::Rebind<uint32_t, FloatTag> d32;
    return hn::BitCast(FloatTag(), hn::And(Bits(from), hn::Set(d32, 0xFFFF0000u)));
  }

  // Where the activations' even and odd vectors fit beside the sums, the products of a weight row
  // come together: otherwise the compiler keeps the weights of all rows from the even ones to the
  // odd ones, and has no register left for some of the sums.
  template <int kOuts, int kRows>
  static HWY_INLINE void Add(const BFloat16* HWY_RESTRICT weights, int64_t weight_stride,
                             const float* HWY_RESTRICT x, FloatVector (&sums)[kOuts][kRows]) {
    if constexpr (kOuts * kRows + 2 * kRows + 2 + kConstants <= kRegisters) {
      AddRowByRow(weights, weight_stride, x, sums);
    } else {
      MultiplyAdd<Even>(weights, weight_stride, x, sums);
      MultiplyAdd<Odd>(weights, weight_stride, x + kRows * Lanes(), sums);
    }
  }

 private:
  template <int kOuts, int kRows>
  static HWY_INLINE void AddRowByRow(const BFloat16* HWY_RESTRICT weights, int64_t weight_stride,
                                     const float* HWY_RESTRICT x,
                                     FloatVector (&sums)[kOuts][kRows]) {
    FloatVector even[kRows], odd[kRows];
    HWY_UNROLL(8)
    for (int r = 0; r < kRows; ++r) {
      even[r] = hn::Load(FloatTag(), x + r * Lanes());
      odd[r] = hn::Load(FloatTag(), x + (kRows + r) * Lanes());
    }
    HWY_UNROLL(8)
    for (int o = 0; o < kOuts; ++o) {
      const FloatVector even_weight = Even(weights + o * weight_stride);
      const FloatVector odd_weight = Odd(weights + o * weight_stride);
      HWY_UNROLL(8)
      for (int r = 0; r < kRows; ++r) sums[o][r] = hn::MulAdd(even_weight, even[r], sums[o][r]);
      HWY_UNROLL(8)
      for (int r = 0; r < kRows; ++r) sums[o][r] = hn::MulAdd(odd_weight, odd[r], sums[o][r]);
    }
  }
};
#endif

#if SHIRA_BF16_DOT
// Pairs of bfloat16 products added up by one instruction, which takes subnormal numbers for zero.
struct Bf16Dot {
  using Weight = BFloat16;
  using Activation = BFloat16;
  using Unit = VectorUnit<Bf16Dot>;
  static constexpr int kConstants = 0;

  static HWY_INLINE int64_t Lanes() { return 32; }
  static HWY_INLINE int64_t Step() { return 32; }

  static HWY_INLINE void Pack(const float* from, BFloat16* to, int64_t) { NarrowStep(from, to); }

  static HWY_INLINE __m512bh Load(const BFloat16* from) {
    return reinterpret_cast<__m512bh>(_mm512_loadu_si512(from));
  }

  template <int kOuts, int kRows>
  static HWY_INLINE void Add(const BFloat16* HWY_RESTRICT weights, int64_t weight_stride,
                             const BFloat16* HWY_RESTRICT x, FloatVector (&sums)[kOuts][kRows]) {
    __m512bh activations[kRows];
    HWY_UNROLL(8)
    for (int r = 0; r < kRows; ++r) activations[r] = Load(x + r * Lanes());
    HWY_UNROLL(8)
    for (int o = 0; o < kOuts; ++o) {
      const __m512bh w = Load(weights + o * weight_stride);
      HWY_UNROLL(8)
      for (int r = 0; r < kRows; ++r) {
        sums[o][r].raw = _mm512_dpbf16_ps(sums[o][r].raw, w, activations[r]);
      }
    }
  }
};
#endif

// The lanes of four vectors added up: four numbers. Each is summed in the same order, whichever of
// the four it is.
#if HWY_TARGET == HWY_SCALAR
HWY_INLINE void StoreSums(FloatVector a, FloatVector b, FloatVector c, FloatVector d, float* to) {
  to[0] = hn::GetLane(a);
  to[1] = hn::GetLane(b);
  to[2] = hn::GetLane(c);
  to[3] = hn::GetLane(d);
}
#else
// Adds up the 128-bit blocks of a vector.
template <class D>
HWY_INLINE auto SumOfBlocks(D d, hn::Vec<D> v) {
  if constexpr (hn::MaxLanes(D()) > 4) {
    const hn::Half<D> half;
    return SumOfBlocks(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  } else {
    return v;
  }
}

HWY_INLINE void StoreSums(FloatVector a, FloatVector b, FloatVector c, FloatVector d, float* to) {
  const FloatTag tag;
  const hn::Repartition<double, FloatTag> tag64;
  // In each block: a0+a2, b0+b2, a1+a3, b1+b3.
  const auto ab =
      hn::BitCast(tag64, hn::Add(hn::InterleaveLower(tag, a, b), hn::InterleaveUpper(tag, a, b)));
  const auto cd =
      hn::BitCast(tag64, hn::Add(hn::InterleaveLower(tag, c, d), hn::InterleaveUpper(tag, c, d)));
  const auto abcd = hn::Add(hn::BitCast(tag, hn::InterleaveLower(tag64, ab, cd)),
                            hn::BitCast(tag, hn::InterleaveUpper(tag64, ab, cd)));
  hn::StoreU(SumOfBlocks(tag, abcd), hn::CappedTag<float, 4>(), to);
}
#endif

// Memory that will be read next, fetched a few bytes with every step. Its two halves come side by
// side: what the CPU fetches ahead by itself ends with a page, and begins slowly with the next one.
struct Ahead {
  const char* next = nullptr;
  const char* other = nullptr;
  int64_t step_bytes = 0;  // 0: nothing to fetch

  // `bytes` from `from` on, in so many steps.
  static HWY_INLINE Ahead Of(const void* from, int64_t bytes, int64_t steps) {
    const char* first = static_cast<const char*>(from);
    return {first, first + bytes / 2, bytes / steps};
  }

  HWY_INLINE void Fetch() {
    // Most often one line or two: without a loop, whose end is hard to predict.
    if (step_bytes > 0) __builtin_prefetch(next, 0, 2);
    if (step_bytes > 64) __builtin_prefetch(next + 64, 0, 2);
    for (int64_t i = 128; i < step_bytes; i += 64) __builtin_prefetch(next + i, 0, 2);
    const char* after = next + step_bytes;
    next = other;
    other = after;
  }
};

// Columns [begin, end) of `in` that a tile takes before it goes on to the next weight rows.
struct Columns {
  int64_t begin;
  int64_t end;
  int64_t in;
};

// The sums of a tile, four at a time in the order of its rows, to to[r * to_stride + o].
template <int kOuts, int kRows>
HWY_INLINE void StoreTile(const FloatVector (&sums)[kOuts][kRows], float* HWY_RESTRICT to,
                          int64_t to_stride) {
  constexpr int kSums = kOuts * kRows;
  HWY_UNROLL(12)
  for (int i = 0; i < kSums; i += 4) {
    const auto sum = [&](int at) HWY_ATTR {
      return at < kSums ? sums[at % kOuts][at / kOuts] : hn::Zero(FloatTag());
    };
    float four[4];
    StoreSums(sum(i), sum(i + 1), sum(i + 2), sum(i + 3), four);
    constexpr int kTogether = kOuts < 4 ? kOuts : 4;  // side by side in memory
    for (int at = i; at < i + 4 && at < kSums; at += kTogether) {
      std::copy_n(four + at - i, kTogether, to + at / kOuts * to_stride + at % kOuts);
    }
  }
}

// kOuts weight rows against a tile of kRows rows of activations. What the columns before gave is in
// `carry`, where the sums go as long as there are columns left; then they go to
// to[r * to_stride + o]. kOuts is 1, 2 or a multiple of 4.
template <class Products, int kOuts, int kRows>
HWY_INLINE void Tile(const typename Products::Weight* HWY_RESTRICT weights, int64_t weight_stride,
                     const typename Products::Activation* HWY_RESTRICT x, const Columns& columns,
                     Ahead& ahead, float* HWY_RESTRICT carry, float* HWY_RESTRICT to,
                     int64_t to_stride) {
  FloatVector sums[kOuts][kRows];
  const auto carried = [&](int o, int r) HWY_ATTR {
    return carry + (o * kRows + r) * static_cast<int64_t>(FloatLanes());
  };
  const bool first = columns.begin == 0;
  HWY_UNROLL(8)
  for (int o = 0; o < kOuts; ++o) {
    HWY_UNROLL(8)
    for (int r = 0; r < kRows; ++r) {
      sums[o][r] = first ? hn::Zero(FloatTag()) : hn::Load(FloatTag(), carried(o, r));
    }
  }
  const int64_t step = Products::Step();
  int64_t i = columns.begin;
  for (; i + step <= columns.end; i += step) {
    Products::template Add<kOuts, kRows>(weights + i, weight_stride, x + i * kRows, sums);
    ahead.Fetch();
  }
  if (i < columns.end) {
    typename Products::Weight padded[kOuts * kMaxStep] = {};
    for (int o = 0; o < kOuts; ++o) {
      std::memcpy(padded + o * kMaxStep, weights + o * weight_stride + i,
                  (columns.end - i) * sizeof(padded[0]));
    }
    Products::template Add<kOuts, kRows>(padded, kMaxStep, x + i * kRows, sums);
  }
  if (columns.end == columns.in) return StoreTile(sums, to, to_stride);
  HWY_UNROLL(8)
  for (int o = 0; o < kOuts; ++o) {
    HWY_UNROLL(8)
    for (int r = 0; r < kRows; ++r) hn::Store(sums[o][r], FloatTag(), carried(o, r));
  }
}

// Packs a tile of `rows` rows of activations, [rows, in], with zeros behind their ends up to
// `padded_in`.
template <class Products>
HWY_ATTR void PackTile(const float* x, int64_t rows, int64_t in, int64_t padded_in, Ahead& ahead,
                       typename Products::Activation* packed) {
  const int64_t step = Products::Step();
  const int64_t stride = rows * Products::Lanes();
  for (int64_t row = 0; row < rows; ++row, x += in, packed += Products::Lanes()) {
    int64_t i = 0;
    for (; i + step <= in; i += step) {
      Products::Pack(x + i, packed + i * rows, stride);
      ahead.Fetch();
    }
    for (; i < padded_in; i += step) {
      float padded[kMaxStep] = {};
      std::copy(x + std::min(i, in), x + std::min(i + step, in), padded);
      Products::Pack(padded, packed + i * rows, stride);
    }
  }
}

}  // namespace shira::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // SHIRA_SERVER_MODEL_KERNELS_LINEAR_TILE_INL_H_
