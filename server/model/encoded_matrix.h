// File: server/model/encoded_matrix.h
//
// A matrix as a file holds it, and its conversion to a resident dtype. safetensors' F32, F16 and
// BF16 are the block types of one element with the same names, so both kinds of files are read by
// the same code.

#ifndef SHIRA_SERVER_MODEL_ENCODED_MATRIX_H_
#define SHIRA_SERVER_MODEL_ENCODED_MATRIX_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/functional/function_ref.h"
#include "base/dtype.h"
#include "base/gguf_file.h"
#include "base/parallel.h"

namespace shira {

// Row-major; a row is a whole number of blocks. The bytes need no alignment.
struct EncodedMatrix {
  GgmlType type;
  const std::byte* data;
  int64_t rows;
  int64_t cols;
  float offset = 0.0f;  // what the file has added to every element, and decoding takes away
  // The file has it column by column; of types with blocks of one element.
  bool transposed = false;
  // Of kMXFP4 as transformers' folders have it: the blocks' scales, a byte each, apart from `data`,
  // where a block is 16 bytes with elements 0 and 1, 2 and 3, ... in their low and high halves. null: as
  // GGUF files have it.
  const std::byte* scales = nullptr;
};

// The block type of a safetensors dtype; nullopt for one that holds no weights.
std::optional<GgmlType> BlockTypeOf(DType dtype);

// Row r of the result is row source_row(r) of the matrix.
using SourceRow = absl::FunctionRef<int64_t(int64_t row)>;
inline int64_t SameRow(int64_t row) { return row; }

// Converts to float32 and rounds once to `dtype` (kF32, kBF16 or kF16), nearest even; what has that
// dtype already is copied. Row r goes to row r * row_step of `destination`, whose rows have `cols`
// elements; those between are left as they are. Returns the position (row * cols + column, of the
// result) of the first element that is not finite. Uses 16 KiB of stack per thread and no other memory.
std::optional<int64_t> DecodeMatrix(const EncodedMatrix& matrix, SourceRow source_row, DType dtype,
                                    std::byte* destination, const ParallelFor& parallel_for,
                                    int64_t row_step = 1);

// One element of a row as the file orders them, in float32.
float DecodeElementAt(const EncodedMatrix& matrix, int64_t row, int64_t col);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_ENCODED_MATRIX_H_
