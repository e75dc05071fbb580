#include "server/model/encoded_matrix.h"

#include <algorithm>
#include <array>
#include <cstring>

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

void DecodeMatrix(const EncodedMatrix& matrix, SourceRow source_row, DType dtype,
                  std::byte* destination, const ParallelFor& parallel_for) {
  const GgmlBlock block = GgmlBlockOf(matrix.type);
  const int64_t element_bytes = static_cast<int64_t>(DTypeSize(dtype));
  const int64_t source_row_bytes = matrix.cols / block.elements * block.bytes;
  const int64_t row_bytes = matrix.cols * element_bytes;
  const bool copies = matrix.type == BlockTypeOf(dtype);

  parallel_for(matrix.rows, [&](int64_t begin, int64_t end) {
    std::array<float, kChunk> chunk;
    for (int64_t row = begin; row < end; ++row) {
      const std::byte* from = matrix.data + source_row(row) * source_row_bytes;
      std::byte* to = destination + row * row_bytes;
      if (copies) {
        std::memcpy(to, from, row_bytes);
        continue;
      }
      for (int64_t col = 0; col < matrix.cols; col += kChunk) {
        const int64_t count = std::min(kChunk, matrix.cols - col);
        const absl::Span<const std::byte> blocks(from + col / block.elements * block.bytes,
                                                 count / block.elements * block.bytes);
        DequantizeBlocks(matrix.type, blocks, absl::MakeSpan(chunk.data(), count));
        RoundFloatsTo(dtype, chunk.data(), count, to + col * element_bytes);
      }
    }
  });
}

}  // namespace shira
