#include "server/model/kernels/layers.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <iterator>

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
HWY_ATTR void SumWeightedImpl(bool round_products, const float* rows,
                              absl::Span<const int64_t> indices, absl::Span<const float> factors,
                              int64_t size, float* y) {
  const FloatTag d;
  ForVectors(size, [&](int64_t i, size_t count) HWY_ATTR {
    FloatVector sum = hn::Zero(d);
    for (size_t term = 0; term < indices.size(); ++term) {
      FloatVector product =
          hn::Mul(WidenSome(rows + indices[term] * size + i, count), hn::Set(d, factors[term]));
      if (round_products) product = RoundTo<T>(product);
      sum = hn::Add(sum, product);
    }
    StoreSome(RoundTo<T>(sum), y + i, count);
  });
}

// x = round(f(x)) for every element.
template <typename T, typename F>
HWY_INLINE void Transform(int64_t size, float* x, F&& f) {
  ForVectors(size, [&](int64_t i, size_t count) HWY_ATTR {
    StoreSome(RoundTo<T>(f(WidenSome(x + i, count))), x + i, count);
  });
}

template <typename T>
HWY_ATTR void ScaleImpl(float factor, int64_t size, float* x) {
  const FloatVector by = hn::Set(FloatTag(), factor);
  Transform<T>(size, x, [&](FloatVector v) HWY_ATTR { return hn::Mul(v, by); });
}

template <typename T>
HWY_ATTR void DivideImpl(float divisor, int64_t size, float* x) {
  const FloatVector by = hn::Set(FloatTag(), divisor);
  Transform<T>(size, x, [&](FloatVector v) HWY_ATTR { return hn::Div(v, by); });
}

template <typename T>
HWY_ATTR void SoftcapImpl(float cap, int64_t size, float* x) {
  const FloatTag d;
  const FloatVector by = hn::Set(d, cap);
  Transform<T>(size, x, [&](FloatVector v) HWY_ATTR {
    return hn::Mul(RoundTo<T>(hn::Tanh(d, RoundTo<T>(hn::Div(v, by)))), by);
  });
}

// 1 / sqrt(mean of (x - center)^2 + eps).
HWY_ATTR float InverseDeviation(const float* x, float center, double eps, int64_t size) {
  const FloatTag d;
  const FloatVector middle = hn::Set(d, center);
  FloatVector squares = hn::Zero(d);
  ForVectors(size, [&](int64_t i, size_t count) HWY_ATTR {
    FloatVector v = hn::Sub(WidenSome(x + i, count), middle);
    // The lanes behind the row's end count for nothing.
    if (count < hn::Lanes(d)) v = hn::IfThenElseZero(hn::FirstN(d, count), v);
    squares = hn::MulAdd(v, v, squares);
  });
  const float mean = SumOf(squares) / static_cast<float>(size);
  return 1.0f / std::sqrt(mean + static_cast<float>(eps));
}

HWY_ATTR float MeanOf(const float* x, int64_t size) {
  FloatVector sum = hn::Zero(FloatTag());
  ForVectors(
      size, [&](int64_t i, size_t count) HWY_ATTR { sum = hn::Add(sum, WidenSome(x + i, count)); });
  return SumOf(sum) / static_cast<float>(size);
}

template <typename T, NormKind kKind>
HWY_ATTR void NormImpl(const float* x, const T* weight, const T* bias, double eps, int64_t size,
                       float* y) {
  const FloatTag d;
  const float center = kKind == NormKind::kLayer ? MeanOf(x, size) : 0.0f;
  const FloatVector scale = hn::Set(d, InverseDeviation(x, center, eps, size));
  ForVectors(size, [&](int64_t i, size_t count) HWY_ATTR {
    FloatVector v = WidenSome(x + i, count);
    FloatVector w = WidenSome(weight + i, count);
    if constexpr (kKind == NormKind::kLayer) v = hn::Sub(v, hn::Set(d, center));
    v = hn::Mul(v, scale);
    if constexpr (kKind == NormKind::kRms) v = RoundTo<T>(v);
    if constexpr (kKind == NormKind::kRmsPlusOne) w = hn::Add(w, hn::Set(d, 1.0f));
    v = hn::Mul(v, w);
    if constexpr (kKind == NormKind::kLayer) {
      if (bias != nullptr) v = hn::Add(v, WidenSome(bias + i, count));
    }
    StoreSome(RoundTo<T>(v), y + i, count);
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

// x / (1 + e^-slope). Beyond 88 e^-slope overflows; so far below zero the result is zero in every
// dtype.
HWY_INLINE FloatVector TimesLogistic(FloatVector x, FloatVector slope) {
  const FloatTag d;
  const FloatVector power = hn::Exp(d, hn::Min(hn::Neg(slope), hn::Set(d, 88.0f)));
  return hn::Div(x, hn::Add(hn::Set(d, 1.0f), power));
}

// 1 - erf(z) for z >= 0, off by less than 1.5e-7 (Abramowitz and Stegun, 7.1.26).
HWY_INLINE FloatVector ErrorComplement(FloatVector z) {
  const FloatTag d;
  const FloatVector one = hn::Set(d, 1.0f);
  const FloatVector t = hn::Div(one, hn::MulAdd(z, hn::Set(d, 0.3275911f), one));
  FloatVector sum = hn::Set(d, 1.061405429f);
  sum = hn::MulAdd(sum, t, hn::Set(d, -1.453152027f));
  sum = hn::MulAdd(sum, t, hn::Set(d, 1.421413741f));
  sum = hn::MulAdd(sum, t, hn::Set(d, -0.284496736f));
  sum = hn::MulAdd(sum, t, hn::Set(d, 0.254829592f));
  return hn::Mul(hn::Mul(sum, t), hn::Exp(d, hn::Neg(hn::Mul(z, z))));
}

template <Activation kActivation>
HWY_INLINE FloatVector Activate(FloatVector x) {
  const FloatTag d;
  if constexpr (kActivation == Activation::kSilu) {
    return TimesLogistic(x, x);
  } else if constexpr (kActivation == Activation::kGeluTanh) {
    // (1 + tanh(u)) / 2 is 1 / (1 + e^-2u).
    const FloatVector cubic = hn::Mul(hn::Set(d, 0.044715f), hn::Mul(x, hn::Mul(x, x)));
    return TimesLogistic(x, hn::Mul(hn::Set(d, 1.5957691216f), hn::Add(x, cubic)));
  } else {
    const FloatVector z = hn::Mul(hn::Abs(x), hn::Set(d, 0.70710678118f));
    const FloatVector tail = hn::Mul(hn::Mul(hn::Set(d, 0.5f), x), ErrorComplement(z));
    return hn::IfThenElse(hn::Lt(x, hn::Zero(d)), tail, hn::Sub(x, tail));
  }
}

template <typename T, Activation kActivation>
HWY_ATTR void GateImpl(const float* gate_up, int64_t size, float* y) {
  ForVectors(size, [&](int64_t i, size_t count) HWY_ATTR {
    const FloatVector gate = RoundTo<T>(Activate<kActivation>(WidenSome(gate_up + i, count)));
    const FloatVector up = WidenSome(gate_up + size + i, count);
    StoreSome(RoundTo<T>(hn::Mul(gate, up)), y + i, count);
  });
}

template <typename T>
HWY_ATTR void ClampedGateImpl(float slope, float limit, const float* pairs, int64_t size,
                              float* y) {
  const FloatTag d;
  const FloatVector one = hn::Set(d, 1.0f);
  const FloatVector steepness = hn::Set(d, slope);
  const FloatVector most = hn::Set(d, ToFloat(FromFloat<T>(limit)));
  ForVectors(size, [&](int64_t i, size_t count) HWY_ATTR {
    const float* from = pairs + 2 * i;
    float padded[2 * 16];
    if (count < hn::Lanes(d)) {
      std::fill(std::copy_n(from, 2 * count, padded), std::end(padded), 0.0f);
      from = padded;
    }
    FloatVector gate, up;
    hn::LoadInterleaved2(d, from, gate, up);
    gate = hn::Min(gate, most);
    up = hn::Max(hn::Min(up, most), hn::Neg(most));
    const FloatVector logistic =
        RoundTo<T>(TimesLogistic(one, RoundTo<T>(hn::Mul(gate, steepness))));
    const FloatVector gated = RoundTo<T>(hn::Mul(gate, logistic));
    StoreSome(RoundTo<T>(hn::Mul(RoundTo<T>(hn::Add(up, one)), gated)), y + i, count);
  });
}

template <typename T, Activation kActivation>
HWY_ATTR void ActivateImpl(const float* x, int64_t size, float* y) {
  ForVectors(size, [&](int64_t i, size_t count) HWY_ATTR {
    StoreSome(RoundTo<T>(Activate<kActivation>(WidenSome(x + i, count))), y + i, count);
  });
}

// Calls body with the activation as a type.
template <Activation kActivation>
struct ActivationTag {
  static constexpr Activation value = kActivation;
};
template <typename Body>
void WithActivation(Activation activation, Body&& body) {
  switch (activation) {
    case Activation::kSilu:
      return body(ActivationTag<Activation::kSilu>());
    case Activation::kGelu:
      return body(ActivationTag<Activation::kGelu>());
    case Activation::kGeluTanh:
      return body(ActivationTag<Activation::kGeluTanh>());
  }
}

void WidenTyped(DType dtype, const void* from, int64_t size, float* to) {
  WithResidentType(dtype,
                   [&]<typename T>(T) { WidenImpl<T>(static_cast<const T*>(from), size, to); });
}
void AddTyped(DType dtype, const float* delta, int64_t size, float* x) {
  WithResidentType(dtype, [&]<typename T>(T) { AddImpl<T>(delta, size, x); });
}
void SumWeightedTyped(DType dtype, bool round_products, const float* rows,
                      absl::Span<const int64_t> indices, absl::Span<const float> factors,
                      int64_t size, float* y) {
  WithResidentType(dtype, [&]<typename T>(T) {
    SumWeightedImpl<T>(round_products, rows, indices, factors, size, y);
  });
}
void ScaleTyped(DType dtype, float factor, int64_t size, float* x) {
  WithResidentType(dtype, [&]<typename T>(T) { ScaleImpl<T>(factor, size, x); });
}
void DivideTyped(DType dtype, float divisor, int64_t size, float* x) {
  WithResidentType(dtype, [&]<typename T>(T) { DivideImpl<T>(divisor, size, x); });
}
void SoftcapTyped(DType dtype, float cap, int64_t size, float* x) {
  WithResidentType(dtype, [&]<typename T>(T) { SoftcapImpl<T>(cap, size, x); });
}
void NormTyped(DType dtype, NormKind kind, const float* x, const NormWeights& weights, double eps,
               int64_t size, float* y) {
  WithResidentType(dtype, [&]<typename T>(T) {
    const auto* weight = static_cast<const T*>(weights.weight);
    const auto* bias = static_cast<const T*>(weights.bias);
    switch (kind) {
      case NormKind::kRms:
        return NormImpl<T, NormKind::kRms>(x, weight, bias, eps, size, y);
      case NormKind::kRmsFloat:
        return NormImpl<T, NormKind::kRmsFloat>(x, weight, bias, eps, size, y);
      case NormKind::kRmsPlusOne:
        return NormImpl<T, NormKind::kRmsPlusOne>(x, weight, bias, eps, size, y);
      case NormKind::kLayer:
        return NormImpl<T, NormKind::kLayer>(x, weight, bias, eps, size, y);
    }
  });
}
void RotateTyped(DType dtype, const float* cos, const float* sin, int64_t num_heads,
                 int64_t head_dim, int64_t rotary_dim, float* heads) {
  WithResidentType(dtype, [&]<typename T>(T) {
    RotateImpl<T>(cos, sin, num_heads, head_dim, rotary_dim, heads);
  });
}
void GateTyped(DType dtype, Activation activation, const float* gate_up, int64_t size, float* y) {
  WithResidentType(dtype, [&]<typename T>(T) {
    WithActivation(activation, [&](auto tag) { GateImpl<T, tag.value>(gate_up, size, y); });
  });
}
void ClampedGateTyped(DType dtype, float slope, float limit, const float* pairs, int64_t size,
                      float* y) {
  WithResidentType(dtype, [&]<typename T>(T) { ClampedGateImpl<T>(slope, limit, pairs, size, y); });
}
void ActivateTyped(DType dtype, Activation activation, const float* x, int64_t size, float* y) {
  WithResidentType(dtype, [&]<typename T>(T) {
    WithActivation(activation, [&](auto tag) { ActivateImpl<T, tag.value>(x, size, y); });
  });
}

}  // namespace
}  // namespace shira::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace shira {

HWY_EXPORT(WidenTyped);
HWY_EXPORT(AddTyped);
HWY_EXPORT(SumWeightedTyped);
HWY_EXPORT(ScaleTyped);
HWY_EXPORT(DivideTyped);
HWY_EXPORT(SoftcapTyped);
HWY_EXPORT(NormTyped);
HWY_EXPORT(RotateTyped);
HWY_EXPORT(GateTyped);
HWY_EXPORT(ClampedGateTyped);
HWY_EXPORT(ActivateTyped);

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

void ScaleRow(DType dtype, double factor, int64_t size, float* x) {
  HWY_DYNAMIC_DISPATCH(ScaleTyped)(dtype, static_cast<float>(factor), size, x);
}

void DivideRow(DType dtype, double divisor, int64_t size, float* x) {
  HWY_DYNAMIC_DISPATCH(DivideTyped)(dtype, static_cast<float>(divisor), size, x);
}

void SoftcapRow(DType dtype, double cap, int64_t size, float* x) {
  HWY_DYNAMIC_DISPATCH(SoftcapTyped)(dtype, static_cast<float>(cap), size, x);
}

void NormRow(DType dtype, NormKind kind, const float* x, const NormWeights& weights, double eps,
             int64_t size, float* y) {
  HWY_DYNAMIC_DISPATCH(NormTyped)(dtype, kind, x, weights, eps, size, y);
}

void RotateRow(DType dtype, const float* cos, const float* sin, int64_t num_heads, int64_t head_dim,
               int64_t rotary_dim, float* heads) {
  HWY_DYNAMIC_DISPATCH(RotateTyped)(dtype, cos, sin, num_heads, head_dim, rotary_dim, heads);
}

void GateRow(DType dtype, Activation activation, const float* gate_up, int64_t size, float* y) {
  HWY_DYNAMIC_DISPATCH(GateTyped)(dtype, activation, gate_up, size, y);
}

void ClampedGateRow(DType dtype, const ClampedGate& gate, const float* pairs, int64_t size,
                    float* y) {
  const auto slope = static_cast<float>(gate.slope), limit = static_cast<float>(gate.limit);
  HWY_DYNAMIC_DISPATCH(ClampedGateTyped)(dtype, slope, limit, pairs, size, y);
}

void ActivateRow(DType dtype, Activation activation, const float* x, int64_t size, float* y) {
  HWY_DYNAMIC_DISPATCH(ActivateTyped)(dtype, activation, x, size, y);
}

void SumWeightedRows(DType dtype, bool round_products, const float* rows,
                     absl::Span<const int64_t> indices, absl::Span<const float> factors,
                     int64_t size, float* y) {
  HWY_DYNAMIC_DISPATCH(SumWeightedTyped)(dtype, round_products, rows, indices, factors, size, y);
}

void StackHeadsRow(const float* by_head, int64_t heads, int64_t head_dim, float* stacked) {
  for (int64_t head = 0; head < heads; ++head) {
    for (int64_t part = 0; part < 3; ++part) {
      std::copy_n(by_head + (3 * head + part) * head_dim, head_dim,
                  stacked + (part * heads + head) * head_dim);
    }
  }
}

}  // namespace shira
#endif  // HWY_ONCE
