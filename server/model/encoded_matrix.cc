#include "server/model/encoded_matrix.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <limits>

#include "absl/types/span.h"
#include "base/float_types.h"
#include "server/model/gguf_dequantize.h"

namespace shira {
namespace {

// Elements converted at a time: whole blocks of any type.
constexpr int64_t kChunk = 8 * kMaxBlockElements;
// Rows of a transposed matrix that are converted together: those that a cache line has elements of.
constexpr int64_t kTransposedRows = 32;

// to[i] = from[i * step], elements of type T.
template <typename T>
void Gather(const std::byte* from, int64_t step, int64_t count, std::byte* to) {
  constexpr auto kBytes = static_cast<int64_t>(sizeof(T));
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(to + i * kBytes, from + i * step * kBytes, sizeof(T));
  }
}

// Elements [col, col + count) of row `row` of the file, whole blocks, without what the file has added.
void DecodeChunk(const EncodedMatrix& matrix, int64_t row, int64_t col, int64_t count, float* out) {
  const GgmlBlock block = GgmlBlockOf(matrix.type);
  const absl::Span<float> values(out, count);
  if (matrix.transposed) {
    std::array<std::byte, kChunk * sizeof(float)> gathered;
    const std::byte* from = matrix.data + (col * matrix.rows + row) * block.bytes;
    const auto gather = block.bytes == 2 ? &Gather<uint16_t> : &Gather<uint32_t>;
    gather(from, matrix.rows, count, gathered.data());
    DequantizeBlocks(matrix.type, {gathered.data(), static_cast<size_t>(count * block.bytes)},
                     values);
  } else {
    const int64_t first = (row * matrix.cols + col) / block.elements;
    const int64_t blocks = count / block.elements;
    if (matrix.scales != nullptr) {
      const int64_t bytes = block.elements / 2;
      DequantizeMxfp4({matrix.data + first * bytes, static_cast<size_t>(blocks * bytes)},
                      {matrix.scales + first, static_cast<size_t>(blocks)}, values);
    } else {
      DequantizeBlocks(
          matrix.type,
          {matrix.data + first * block.bytes, static_cast<size_t>(blocks * block.bytes)}, values);
    }
  }
  if (matrix.offset == 0.0f) return;
  for (float& value : values) value -= matrix.offset;
}

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
                                    std::byte* destination, const ParallelFor& parallel_for,
                                    int64_t row_step) {
  const int64_t element_bytes = static_cast<int64_t>(DTypeSize(dtype));
  const int64_t row_bytes = matrix.cols * element_bytes;
  const bool copies =
      matrix.type == BlockTypeOf(dtype) && matrix.offset == 0.0f && !matrix.transposed;
  const int64_t rows_at_once = matrix.transposed ? kTransposedRows : 1;
  const auto row_at = [&](int64_t row) { return destination + row * row_step * row_bytes; };

  constexpr int64_t kNone = std::numeric_limits<int64_t>::max();
  std::atomic<int64_t> first_bad_row = kNone;
  parallel_for(matrix.rows, [&](int64_t begin, int64_t end) {
    std::array<float, kChunk> chunk;
    const auto convert = [&](int64_t first, int64_t last) {
      for (int64_t col = 0; col < matrix.cols; col += kChunk) {
        const int64_t count = std::min(kChunk, matrix.cols - col);
        for (int64_t row = first; row < last; ++row) {
          DecodeChunk(matrix, source_row(row), col, count, chunk.data());
          RoundFloatsTo(dtype, chunk.data(), count, row_at(row) + col * element_bytes);
        }
      }
    };
    for (int64_t first = begin; first < end; first += rows_at_once) {
      const int64_t last = std::min(end, first + rows_at_once);
      if (copies) {
        std::memcpy(row_at(first), matrix.data + source_row(first) * row_bytes, row_bytes);
      } else {
        convert(first, last);
      }
      for (int64_t row = first; row < last; ++row) {
        if (AreFinite(dtype, row_at(row), matrix.cols)) continue;
        int64_t least = first_bad_row;
        while (row < least && !first_bad_row.compare_exchange_weak(least, row)) {
        }
      }
    }
  });
  if (first_bad_row == kNone) return std::nullopt;
  int64_t col = 0;
  while (AreFinite(dtype, row_at(first_bad_row) + col * element_bytes, 1)) ++col;
  return first_bad_row * matrix.cols + col;
}

float DecodeElementAt(const EncodedMatrix& matrix, int64_t row, int64_t col) {
  const int64_t elements = GgmlBlockOf(matrix.type).elements;
  std::array<float, kMaxBlockElements> values;
  DecodeChunk(matrix, row, col / elements * elements, elements, values.data());
  return values[col % elements];
}

}  // namespace shira
