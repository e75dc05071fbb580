#include "server/model/gguf_dequantize.h"

#include <cmath>
#include <cstdint>
#include <cstring>

#include "base/float_types.h"

namespace shira {
namespace {

float LoadHalf(const uint8_t* bytes) {
  Float16 half;
  std::memcpy(&half, bytes, sizeof(half));
  return ToFloat(half);
}

// Plain elements.
template <typename T>
void DecodeElement(const uint8_t* block, float* out) {
  T value;
  std::memcpy(&value, block, sizeof(value));
  *out = ToFloat(value);
}

// The blocks of 32. d is the scale, m the minimum; nibbles hold elements 0 to 15 in their low and
// 16 to 31 in their high halves.

// d, int8[32]
void DecodeQ8_0(const uint8_t* block, float* out) {
  const float d = LoadHalf(block);
  for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(static_cast<int8_t>(block[2 + i])) * d;
}

// d, nibbles[16]
void DecodeQ4_0(const uint8_t* block, float* out) {
  const float d = LoadHalf(block);
  for (int i = 0; i < 16; ++i) {
    const uint8_t packed = block[2 + i];
    out[i] = d * static_cast<float>((packed & 0x0F) - 8);
    out[16 + i] = d * static_cast<float>((packed >> 4) - 8);
  }
}

// d, m, nibbles[16]
void DecodeQ4_1(const uint8_t* block, float* out) {
  const float d = LoadHalf(block);
  const float m = LoadHalf(block + 2);
  for (int i = 0; i < 16; ++i) {
    const uint8_t packed = block[4 + i];
    out[i] = d * static_cast<float>(packed & 0x0F) + m;
    out[16 + i] = d * static_cast<float>(packed >> 4) + m;
  }
}

// The fifth bits of 32 elements, element 0 in the lowest bit.
uint32_t LoadFifthBits(const uint8_t* bytes) {
  uint32_t bits;
  std::memcpy(&bits, bytes, sizeof(bits));
  return bits;
}

// d, fifth bits[4], nibbles[16]
void DecodeQ5_0(const uint8_t* block, float* out) {
  const float d = LoadHalf(block);
  const uint32_t high = LoadFifthBits(block + 2);
  for (int i = 0; i < 16; ++i) {
    const uint8_t packed = block[6 + i];
    const int low_half = (packed & 0x0F) | (((high >> i) & 1) << 4);
    const int high_half = (packed >> 4) | (((high >> (16 + i)) & 1) << 4);
    out[i] = d * static_cast<float>(low_half - 16);
    out[16 + i] = d * static_cast<float>(high_half - 16);
  }
}

// d, m, fifth bits[4], nibbles[16]
void DecodeQ5_1(const uint8_t* block, float* out) {
  const float d = LoadHalf(block);
  const float m = LoadHalf(block + 2);
  const uint32_t high = LoadFifthBits(block + 4);
  for (int i = 0; i < 16; ++i) {
    const uint8_t packed = block[8 + i];
    const int low_half = (packed & 0x0F) | (((high >> i) & 1) << 4);
    const int high_half = (packed >> 4) | (((high >> (16 + i)) & 1) << 4);
    out[i] = d * static_cast<float>(low_half) + m;
    out[16 + i] = d * static_cast<float>(high_half) + m;
  }
}

// MXFP4: each of 32 elements is a float of four bits, a sign, two bits of exponent and one of mantissa.
// The scale is a power of two, whose exponent is the byte less 127; half of it is a float32 whatever the
// byte is.
constexpr float kTwiceFp4[] = {0.0f,  1.0f,  2.0f,  3.0f,  4.0f,  6.0f,  8.0f,  12.0f,
                               -0.0f, -1.0f, -2.0f, -3.0f, -4.0f, -6.0f, -8.0f, -12.0f};
float HalfScale(uint8_t byte) { return std::ldexp(1.0f, byte - 128); }

// scale, nibbles[16]
void DecodeMXFP4(const uint8_t* block, float* out) {
  const float half_scale = HalfScale(block[0]);
  for (int i = 0; i < 16; ++i) {
    const uint8_t packed = block[1 + i];
    // A zero has no sign here.
    out[i] = kTwiceFp4[packed & 0x0F] * half_scale + 0.0f;
    out[16 + i] = kTwiceFp4[packed >> 4] * half_scale + 0.0f;
  }
}

// The blocks of 256, eight groups of 32. Each group of Q4_K and Q5_K has a 6-bit scale and a 6-bit
// minimum, packed into 12 bytes: the first four groups' in the low six bits of bytes 0 to 3 and 4
// to 7, the others' in the nibbles of bytes 8 to 11 and the top bits of bytes 0 to 7.
struct GroupScale {
  float scale;
  float minimum;
};

GroupScale LoadGroupScale(const uint8_t* packed, int group, float d, float dmin) {
  uint8_t scale, minimum;
  if (group < 4) {
    scale = packed[group] & 0x3F;
    minimum = packed[4 + group] & 0x3F;
  } else {
    scale = (packed[4 + group] & 0x0F) | ((packed[group - 4] >> 2) & 0x30);
    minimum = (packed[4 + group] >> 4) | ((packed[group] >> 2) & 0x30);
  }
  return {d * static_cast<float>(scale), dmin * static_cast<float>(minimum)};
}

// d, dmin, scales[12], nibbles[128]; two groups share 32 bytes.
void DecodeQ4_K(const uint8_t* block, float* out) {
  const float d = LoadHalf(block);
  const float dmin = LoadHalf(block + 2);
  for (int group = 0; group < 8; ++group) {
    const GroupScale s = LoadGroupScale(block + 4, group, d, dmin);
    const uint8_t* nibbles = block + 16 + 32 * (group / 2);
    const int shift = 4 * (group % 2);
    for (int i = 0; i < 32; ++i) {
      const int q = (nibbles[i] >> shift) & 0x0F;
      out[32 * group + i] = s.scale * static_cast<float>(q) - s.minimum;
    }
  }
}

// d, dmin, scales[12], fifth bits[32], nibbles[128]; bit g of a byte of fifth bits belongs to group
// g.
void DecodeQ5_K(const uint8_t* block, float* out) {
  const float d = LoadHalf(block);
  const float dmin = LoadHalf(block + 2);
  const uint8_t* high = block + 16;
  for (int group = 0; group < 8; ++group) {
    const GroupScale s = LoadGroupScale(block + 4, group, d, dmin);
    const uint8_t* nibbles = block + 48 + 32 * (group / 2);
    const int shift = 4 * (group % 2);
    for (int i = 0; i < 32; ++i) {
      const int q = ((nibbles[i] >> shift) & 0x0F) | (((high[i] >> group) & 1) << 4);
      out[32 * group + i] = s.scale * static_cast<float>(q) - s.minimum;
    }
  }
}

// nibbles[128], bits five and six[64], int8 scales[16], d. A half of 128 elements has 64 bytes of
// nibbles (low halves first) and 32 bytes with four pairs of bits each; every 16 elements have a
// scale.
void DecodeQ6_K(const uint8_t* block, float* out) {
  const float d = LoadHalf(block + 208);
  for (int group = 0; group < 8; ++group) {
    const int half = group / 4;
    const int quarter = group % 4;
    const uint8_t* nibbles = block + 64 * half + 32 * (quarter % 2);
    const uint8_t* high = block + 128 + 32 * half;
    for (int i = 0; i < 32; ++i) {
      const int q =
          ((nibbles[i] >> (4 * (quarter / 2))) & 0x0F) | (((high[i] >> (2 * quarter)) & 3) << 4);
      const float scale =
          d * static_cast<float>(static_cast<int8_t>(block[192 + 2 * group + i / 16]));
      out[32 * group + i] = scale * static_cast<float>(q - 32);
    }
  }
}

template <void (*decode)(const uint8_t* block, float* out)>
void DecodeAll(GgmlType type, absl::Span<const std::byte> blocks, absl::Span<float> out) {
  const GgmlBlock block = GgmlBlockOf(type);
  const uint8_t* bytes = reinterpret_cast<const uint8_t*>(blocks.data());
  const int64_t count = static_cast<int64_t>(out.size()) / block.elements;
  for (int64_t i = 0; i < count; ++i) {
    decode(bytes + i * block.bytes, out.data() + i * block.elements);
  }
}

}  // namespace

void DequantizeBlocks(GgmlType type, absl::Span<const std::byte> blocks, absl::Span<float> out) {
  switch (type) {
    case GgmlType::kF32:
      return DecodeAll<&DecodeElement<float>>(type, blocks, out);
    case GgmlType::kF16:
      return DecodeAll<&DecodeElement<Float16>>(type, blocks, out);
    case GgmlType::kBF16:
      return DecodeAll<&DecodeElement<BFloat16>>(type, blocks, out);
    case GgmlType::kQ8_0:
      return DecodeAll<&DecodeQ8_0>(type, blocks, out);
    case GgmlType::kQ4_0:
      return DecodeAll<&DecodeQ4_0>(type, blocks, out);
    case GgmlType::kQ4_1:
      return DecodeAll<&DecodeQ4_1>(type, blocks, out);
    case GgmlType::kQ5_0:
      return DecodeAll<&DecodeQ5_0>(type, blocks, out);
    case GgmlType::kQ5_1:
      return DecodeAll<&DecodeQ5_1>(type, blocks, out);
    case GgmlType::kQ4_K:
      return DecodeAll<&DecodeQ4_K>(type, blocks, out);
    case GgmlType::kQ5_K:
      return DecodeAll<&DecodeQ5_K>(type, blocks, out);
    case GgmlType::kQ6_K:
      return DecodeAll<&DecodeQ6_K>(type, blocks, out);
    case GgmlType::kMXFP4:
      return DecodeAll<&DecodeMXFP4>(type, blocks, out);
  }
}

void DequantizeMxfp4(absl::Span<const std::byte> blocks, absl::Span<const std::byte> scales,
                     absl::Span<float> out) {
  for (size_t block = 0; block < scales.size(); ++block) {
    const float half_scale = HalfScale(static_cast<uint8_t>(scales[block]));
    float* to = out.data() + 32 * block;
    for (size_t i = 0; i < 16; ++i) {
      const auto packed = static_cast<uint8_t>(blocks[16 * block + i]);
      to[2 * i] = kTwiceFp4[packed & 0x0F] * half_scale;
      to[2 * i + 1] = kTwiceFp4[packed >> 4] * half_scale;
    }
  }
}

}  // namespace shira
