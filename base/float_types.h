// File: base/float_types.h
//
// Conversion between float and the 16-bit resident types, bit-equal to LibTorch's (c10::BFloat16,
// c10::Half): round to nearest, ties to even; NaN stays NaN; float16 overflows to infinity and
// keeps subnormals.

#ifndef SHIRA_BASE_FLOAT_TYPES_H_
#define SHIRA_BASE_FLOAT_TYPES_H_

#include <bit>
#include <cstdint>

namespace shira {

// Bits of a bfloat16 / an IEEE binary16. Distinct types, so that templates can tell them apart.
struct BFloat16 {
  uint16_t bits;
};
struct Float16 {
  uint16_t bits;
};

inline float ToFloat(float value) { return value; }
inline float ToFloat(BFloat16 value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16);
}
inline float ToFloat(Float16 value) {
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000u) << 16;
  const uint32_t magnitude = value.bits & 0x7FFFu;
  // Infinity and NaN: the exponent's ones move up. Others: shifting rebiases by a multiplication,
  // which also takes subnormals.
  if (magnitude >= 0x7C00u) return std::bit_cast<float>(sign | 0x7F800000u | (magnitude << 13));
  const float scaled = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(scaled));
}

template <typename T>
T FromFloat(float value);

template <>
inline float FromFloat<float>(float value) {
  return value;
}
template <>
inline BFloat16 FromFloat<BFloat16>(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if (value != value) return BFloat16{0x7FC0};
  return BFloat16{static_cast<uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16)};
}
template <>
inline Float16 FromFloat<Float16>(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return Float16{static_cast<uint16_t>(sign | 0x7E00u)};
  if (magnitude >= 0x477FF000u) return Float16{static_cast<uint16_t>(sign | 0x7C00u)};
  if (magnitude < 0x38800000u) {
    // Subnormal or zero: adding 0.5 lets the FPU round to the last place of a subnormal half.
    const float rounded = std::bit_cast<float>(magnitude) + 0.5f;
    return Float16{static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(rounded) - 0x3F000000u))};
  }
  const uint32_t odd = (magnitude >> 13) & 1u;
  return Float16{static_cast<uint16_t>(sign | ((magnitude - 0x38000000u + 0xFFFu + odd) >> 13))};
}

}  // namespace shira

#endif  // SHIRA_BASE_FLOAT_TYPES_H_
