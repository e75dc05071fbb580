#include "server/model/encoded_matrix.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <limits>

#include "base/float_types.h"
#include "server/model/gguf_dequantize.h"

namespace shira {
namespace {

// Elements converted at a time: whole blocks of any type.
constexpr int64_t kChunk = 8 * kMaxBlockElements;

template <typename T>
void RoundFloats(const float* values, int64_t count, std::byte* out) {
  for (int64_t i = 0; i < count; ++i) {
    const T rounded = FromFloat<T>(values[i]);
    std::memcpy(out + i * static_cast<int64_t>(sizeof(T)), &rounded, sizeof(T));
  }
}

void RoundFloatsTo(DType dtype, const float* values, int64_t count, std::byte* out) {
  if (dtype == DType::kBF16) {
    RoundFloats<BFloat16>(values, count, out);
  } else if (dtype == DType::kF16) {
    RoundFloats<Float16>(values, count, out);
  } else {
    RoundFloats<float>(values, count, out);
  }
}

// Whether every number is finite: not all bits of its exponent are set. Without branches, so that the
// compiler does many at a time.
template <typename Bits, Bits exponent>
bool AreFinite(const std::byte* data, int64_t count) {
  constexpr int64_t kAtOnce = 64;
  std::array<Bits, kAtOnce> bits;
  Bits not_finite = 0;
  const auto look_at = [&](int64_t first, int64_t some) {
    std::memcpy(bits.data(), data + first * static_cast<int64_t>(sizeof(Bits)),
                static_cast<size_t>(some) * sizeof(Bits));
    for (const Bits number : bits) not_finite |= (number & exponent) == exponent;
  };
  const int64_t whole = count - count % kAtOnce;
  for (int64_t i = 0; i < whole; i += kAtOnce) look_at(i, kAtOnce);
  bits.fill(0);
  look_at(whole, count - whole);
  return not_finite == 0;
}

bool AreFinite(DType dtype, const std::byte* data, int64_t count) {
  if (dtype == DType::kBF16) return AreFinite<uint16_t, 0x7F80>(data, count);
  if (dtype == DType::kF16) return AreFinite<uint16_t, 0x7C00>(data, count);
  return AreFinite<uint32_t, 0x7F800000>(data, count);
}

}  // namespace

std::optional<GgmlType> BlockTypeOf(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return GgmlType::kF32;
    case DType::kF16:
      return GgmlType::kF16;
    case DType::kBF16:
      return GgmlType::kBF16;
    default:
      return std::nullopt;
  }
}

std::optional<int64_t> DecodeMatrix(const EncodedMatrix& matrix, SourceRow source_row, DType dtype,
                                    std::byte* destination, const ParallelFor& parallel_for) {
  const GgmlBlock block = GgmlBlockOf(matrix.type);
  const int64_t element_bytes = static_cast<int64_t>(DTypeSize(dtype));
  const int64_t source_row_bytes = matrix.cols / block.elements * block.bytes;
  const int64_t row_bytes = matrix.cols * element_bytes;
  const bool copies = matrix.type == BlockTypeOf(dtype) && matrix.offset == 0.0f;

  constexpr int64_t kNone = std::numeric_limits<int64_t>::max();
  std::atomic<int64_t> first_bad_row = kNone;
  parallel_for(matrix.rows, [&](int64_t begin, int64_t end) {
    std::array<float, kChunk> chunk;
    for (int64_t row = begin; row < end; ++row) {
      const std::byte* from = matrix.data + source_row(row) * source_row_bytes;
      std::byte* to = destination + row * row_bytes;
      if (copies) {
        std::memcpy(to, from, row_bytes);
      } else {
        for (int64_t col = 0; col < matrix.cols; col += kChunk) {
          const int64_t count = std::min(kChunk, matrix.cols - col);
          const absl::Span<const std::byte> blocks(from + col / block.elements * block.bytes,
                                                   count / block.elements * block.bytes);
          DequantizeBlocks(matrix.type, blocks, absl::MakeSpan(chunk.data(), count));
          if (matrix.offset != 0.0f) {
            for (int64_t i = 0; i < count; ++i) chunk[i] -= matrix.offset;
          }
          RoundFloatsTo(dtype, chunk.data(), count, to + col * element_bytes);
        }
      }
      if (AreFinite(dtype, to, matrix.cols)) continue;
      int64_t least = first_bad_row;
      while (row < least && !first_bad_row.compare_exchange_weak(least, row)) {
      }
    }
  });
  if (first_bad_row == kNone) return std::nullopt;
  int64_t position = first_bad_row * matrix.cols;
  while (AreFinite(dtype, destination + position * element_bytes, 1)) ++position;
  return position;
}

float DecodeElementAt(const EncodedMatrix& matrix, int64_t row, int64_t col) {
  const GgmlBlock block = GgmlBlockOf(matrix.type);
  std::array<float, kMaxBlockElements> values;
  const int64_t index = (row * matrix.cols + col) / block.elements;
  DequantizeBlocks(matrix.type,
                   {matrix.data + index * block.bytes, static_cast<size_t>(block.bytes)},
                   absl::MakeSpan(values.data(), block.elements));
  return values[col % block.elements] - matrix.offset;
}

}  // namespace shira
