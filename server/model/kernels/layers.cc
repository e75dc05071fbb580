#include "server/model/kernels/layers.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>

#include "server/model/kernels/resident_types.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/model/kernels/layers.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// After foreach_target.h.
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include "server/model/kernels/vector_types-inl.h"

HWY_BEFORE_NAMESPACE();
namespace shira::HWY_NAMESPACE {
namespace {

// Calls f(i, count) for each vector of [0, size); count is less than Lanes() for a last part.
template <typename F>
HWY_INLINE void ForVectors(int64_t size, F&& f) {
  const int64_t lanes = static_cast<int64_t>(FloatLanes());
  for (int64_t i = 0; i < size; i += lanes) f(i, static_cast<size_t>(size - i));
}

template <typename T>
HWY_ATTR void WidenImpl(const T* from, int64_t size, float* to) {
  ForVectors(size, [&](int64_t i, size_t count)
                       HWY_ATTR { StoreSome(WidenSome(from + i, count), to + i, count); });
}

template <typename T>
HWY_ATTR void AddImpl(const float* delta, int64_t size, float* x) {
  ForVectors(size, [&](int64_t i, size_t count) HWY_ATTR {
    const FloatVector sum = hn::Add(WidenSome(x + i, count), WidenSome(delta + i, count));
    StoreSome(RoundTo<T>(sum), x + i, count);
  });
}

template <typename T>
HWY_ATTR void RmsNormImpl(const float* x, const T* weight, double eps, int64_t size, float* y) {
  const FloatTag d;
  FloatVector squares = hn::Zero(d);
  ForVectors(size, [&](int64_t i, size_t count) HWY_ATTR {
    const FloatVector v = WidenSome(x + i, count);
    squares = hn::MulAdd(v, v, squares);
  });
  const float mean = SumOf(squares) / static_cast<float>(size);
  const FloatVector scale = hn::Set(d, 1.0f / std::sqrt(mean + static_cast<float>(eps)));
  ForVectors(size, [&](int64_t i, size_t count) HWY_ATTR {
    const FloatVector normed = RoundTo<T>(hn::Mul(WidenSome(x + i, count), scale));
    StoreSome(RoundTo<T>(hn::Mul(normed, WidenSome(weight + i, count))), y + i, count);
  });
}

template <typename T>
HWY_ATTR void RotateImpl(const float* cos, const float* sin, int64_t num_heads, int64_t head_dim,
                         int64_t rotary_dim, float* heads) {
  const int64_t half = rotary_dim / 2;
  for (int64_t head = 0; head < num_heads; ++head) {
    float* first = heads + head * head_dim;
    float* second = first + half;
    ForVectors(half, [&](int64_t i, size_t count) HWY_ATTR {
      const FloatVector a = WidenSome(first + i, count);
      const FloatVector b = WidenSome(second + i, count);
      const FloatVector c = WidenSome(cos + i, count);
      const FloatVector s = WidenSome(sin + i, count);
      // Each product is rounded before the sum, as in transformers.
      const FloatVector turned_a = hn::Sub(RoundTo<T>(hn::Mul(a, c)), RoundTo<T>(hn::Mul(b, s)));
      const FloatVector turned_b = hn::Add(RoundTo<T>(hn::Mul(b, c)), RoundTo<T>(hn::Mul(a, s)));
      StoreSome(RoundTo<T>(turned_a), first + i, count);
      StoreSome(RoundTo<T>(turned_b), second + i, count);
    });
  }
}

template <typename T>
HWY_ATTR void SiluGateImpl(const float* gate_up, int64_t size, float* y) {
  const FloatTag d;
  const FloatVector one = hn::Set(d, 1.0f);
  ForVectors(size, [&](int64_t i, size_t count) HWY_ATTR {
    const FloatVector gate = WidenSome(gate_up + i, count);
    const FloatVector up = WidenSome(gate_up + size + i, count);
    // Beyond 88 e^-gate overflows; so far below zero silu is zero in every dtype.
    const FloatVector power = hn::Exp(d, hn::Min(hn::Neg(gate), hn::Set(d, 88.0f)));
    const FloatVector silu = RoundTo<T>(hn::Div(gate, hn::Add(one, power)));
    StoreSome(RoundTo<T>(hn::Mul(silu, up)), y + i, count);
  });
}

void WidenTyped(DType dtype, const void* from, int64_t size, float* to) {
  WithResidentType(dtype,
                   [&]<typename T>(T) { WidenImpl<T>(static_cast<const T*>(from), size, to); });
}
void AddTyped(DType dtype, const float* delta, int64_t size, float* x) {
  WithResidentType(dtype, [&]<typename T>(T) { AddImpl<T>(delta, size, x); });
}
void RmsNormTyped(DType dtype, const float* x, const void* weight, double eps, int64_t size,
                  float* y) {
  WithResidentType(dtype, [&]<typename T>(T) {
    RmsNormImpl<T>(x, static_cast<const T*>(weight), eps, size, y);
  });
}
void RotateTyped(DType dtype, const float* cos, const float* sin, int64_t num_heads,
                 int64_t head_dim, int64_t rotary_dim, float* heads) {
  WithResidentType(dtype, [&]<typename T>(T) {
    RotateImpl<T>(cos, sin, num_heads, head_dim, rotary_dim, heads);
  });
}
void SiluGateTyped(DType dtype, const float* gate_up, int64_t size, float* y) {
  WithResidentType(dtype, [&]<typename T>(T) { SiluGateImpl<T>(gate_up, size, y); });
}

}  // namespace
}  // namespace shira::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace shira {

HWY_EXPORT(WidenTyped);
HWY_EXPORT(AddTyped);
HWY_EXPORT(RmsNormTyped);
HWY_EXPORT(RotateTyped);
HWY_EXPORT(SiluGateTyped);

void WidenRow(DType dtype, const void* from, int64_t size, float* to) {
  HWY_DYNAMIC_DISPATCH(WidenTyped)(dtype, from, size, to);
}

void PatchRow(DType dtype, const WeightPatch& patch, int64_t row, float* to) {
  const IndexTable& table = *patch.table;
  const int64_t own_row = row - patch.first_row;
  if (own_row < 0 || own_row >= table.rows()) return;
  const int64_t block = own_row / table.rows_per_block();
  const int64_t first = own_row % table.rows_per_block() * table.cols();
  WithResidentType(dtype, [&]<typename T>(T) {
    table.WithOffsets([&](auto offsets) {
      const auto begin = offsets.begin() + table.block_offsets()[block];
      const auto end = offsets.begin() + table.block_offsets()[block + 1];
      for (auto i = std::lower_bound(begin, end, first); i < end && *i < first + table.cols();
           ++i) {
        T value;
        std::memcpy(&value, patch.values + (i - offsets.begin()) * sizeof(T), sizeof(T));
        to[*i - first] = ToFloat(value);
      }
    });
  });
}

void AddRow(DType dtype, const float* delta, int64_t size, float* x) {
  HWY_DYNAMIC_DISPATCH(AddTyped)(dtype, delta, size, x);
}

void RmsNormRow(DType dtype, const float* x, const void* weight, double eps, int64_t size,
                float* y) {
  HWY_DYNAMIC_DISPATCH(RmsNormTyped)(dtype, x, weight, eps, size, y);
}

void RotateRow(DType dtype, const float* cos, const float* sin, int64_t num_heads, int64_t head_dim,
               int64_t rotary_dim, float* heads) {
  HWY_DYNAMIC_DISPATCH(RotateTyped)(dtype, cos, sin, num_heads, head_dim, rotary_dim, heads);
}

void SiluGateRow(DType dtype, const float* gate_up, int64_t size, float* y) {
  HWY_DYNAMIC_DISPATCH(SiluGateTyped)(dtype, gate_up, size, y);
}

}  // namespace shira
#endif  // HWY_ONCE
