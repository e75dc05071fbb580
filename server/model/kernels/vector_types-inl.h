// File: server/model/kernels/vector_types-inl.h
//
// Highway helpers that every kernel shares: loads that widen to fp32, loads and stores of a part of
// a vector, and rounding to a 16-bit type and back. Included once per target, after highway.h.

// The guard toggles: foreach_target.h includes the kernel's file, and with it this one, again.
#if defined(SHIRA_SERVER_MODEL_KERNELS_VECTOR_TYPES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SHIRA_SERVER_MODEL_KERNELS_VECTOR_TYPES_INL_H_
#undef SHIRA_SERVER_MODEL_KERNELS_VECTOR_TYPES_INL_H_
#else
#define SHIRA_SERVER_MODEL_KERNELS_VECTOR_TYPES_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "base/float_types.h"

HWY_BEFORE_NAMESPACE();
namespace shira::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// At most the 16 lanes of AVX-512: a bound that buffers can be padded to.
using FloatTag = hn::CappedTag<float, 16>;
using FloatVector = hn::Vec<FloatTag>;

inline HWY_ATTR size_t FloatLanes() { return hn::Lanes(FloatTag()); }

// Lanes() elements as fp32.
inline HWY_ATTR FloatVector Widen(const float* from) { return hn::LoadU(FloatTag(), from); }
inline HWY_ATTR FloatVector Widen(const BFloat16* from) {
  const hn::Rebind<uint16_t, FloatTag> d16;
  const hn::Rebind<uint32_t, FloatTag> d32;
  const auto bits = hn::LoadU(d16, reinterpret_cast<const uint16_t*>(from));
  return hn::BitCast(FloatTag(), hn::ShiftLeft<16>(hn::PromoteTo(d32, bits)));
}
inline HWY_ATTR FloatVector Widen(const Float16* from) {
  const hn::Rebind<hwy::float16_t, FloatTag> d16;
  return hn::PromoteTo(FloatTag(), hn::LoadU(d16, reinterpret_cast<const hwy::float16_t*>(from)));
}

// The first `count` elements, zeros in the lanes after them; reads nothing behind them.
template <typename T>
inline HWY_ATTR FloatVector WidenSome(const T* from, size_t count) {
  if (count >= FloatLanes()) return Widen(from);
  T padded[16] = {};
  std::memcpy(padded, from, count * sizeof(T));
  return Widen(padded);
}

// The first `count` lanes, or all.
inline HWY_ATTR void StoreSome(FloatVector v, float* to, size_t count) {
  const FloatTag d;
  if (count >= FloatLanes()) return hn::StoreU(v, d, to);
  HWY_ALIGN float lanes[16];
  hn::Store(v, d, lanes);
  std::memcpy(to, lanes, count * sizeof(float));
}

// What storing as T and reading again would give: nearest, ties to even. For vectors of fp32.
template <class V>
inline HWY_ATTR V RoundToBFloat16(V v) {
  const hn::DFromV<V> d;
  const hn::Rebind<uint32_t, decltype(d)> d32;
  const auto bits = hn::BitCast(d32, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(d32, 1));
  const auto moved = hn::Add(hn::Add(bits, hn::Set(d32, 0x7FFF)), odd);
  const auto rounded = hn::BitCast(d, hn::And(moved, hn::Set(d32, 0xFFFF0000u)));
  return hn::IfThenElse(hn::Eq(v, v), rounded, v);  // NaN stays
}
template <class V>
inline HWY_ATTR V RoundToFloat16(V v) {
  const hn::DFromV<V> d;
  const hn::Rebind<uint32_t, decltype(d)> d32;
  const auto magnitude = hn::Abs(v);
  const auto bits = hn::BitCast(d32, magnitude);
  const auto odd = hn::And(hn::ShiftRight<13>(bits), hn::Set(d32, 1));
  const auto moved = hn::Add(hn::Add(bits, hn::Set(d32, 0xFFF)), odd);
  auto rounded = hn::BitCast(d, hn::And(moved, hn::Set(d32, 0xFFFFE000u)));
  // Below the smallest normal half, adding 0.5 rounds to the last place of a subnormal one.
  const auto half = hn::Set(d, 0.5f);
  rounded = hn::IfThenElse(hn::Lt(magnitude, hn::Set(d, 0x1p-14f)),
                           hn::Sub(hn::Add(magnitude, half), half), rounded);
  const auto infinity = hn::BitCast(d, hn::Set(d32, 0x7F800000u));
  rounded = hn::IfThenElse(hn::Ge(magnitude, hn::Set(d, 65520.0f)), infinity, rounded);
  return hn::IfThenElse(hn::Eq(v, v), hn::CopySignToAbs(rounded, v), v);
}
template <typename T, class V>
HWY_INLINE V RoundTo(V v) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return RoundToBFloat16(v);
  } else if constexpr (std::is_same_v<T, Float16>) {
    return RoundToFloat16(v);
  } else {
    return v;
  }
}

// 32 values, rounded.
HWY_INLINE void NarrowStep(const float* HWY_RESTRICT from, BFloat16* HWY_RESTRICT to) {
  const FloatTag d;
  const hn::Rebind<uint32_t, FloatTag> d32;
  const hn::Rebind<uint16_t, FloatTag> d16;
  for (size_t i = 0; i < 32; i += FloatLanes()) {
    const auto bits = hn::BitCast(d32, RoundToBFloat16(hn::LoadU(d, from + i)));
    hn::StoreU(hn::TruncateTo(d16, hn::ShiftRight<16>(bits)), d16,
               reinterpret_cast<uint16_t*>(to + i));
  }
}

inline HWY_ATTR float SumOf(FloatVector v) { return hn::GetLane(hn::SumOfLanes(FloatTag(), v)); }

}  // namespace shira::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // SHIRA_SERVER_MODEL_KERNELS_VECTOR_TYPES_INL_H_
