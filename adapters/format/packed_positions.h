// File: adapters/format/packed_positions.h
//
// An index table as few bytes: the gaps between its positions in a Golomb-Rice code. The gaps of a
// random mask are geometrically distributed, for which this code is within a few hundredths of a
// byte of the entropy: 1.1 B per entry at the densities of PEFT's r = 2.
//
//   table    = rows cols entries parameter gaps      rows, cols, entries, parameter: u32,
//                                                    little-endian; parameter below 32
//   gaps     = nothing, if entries = rows * cols     every position is touched
//            | code * entries, zero bits up to a multiple of 8 bytes
//   code     = zero bit * q, one bit, r in `parameter` bits       gap = q * 2^parameter + r, q < 24
//            | zero bit * 24, gap in 40 bits                      q = gap / 2^parameter >= 24
//
// gap i is the number of elements between position i - 1 (the first: the beginning) and position i,
// counted along the rows. Bit i of the stream is bit i % 8 (1 << (i % 8)) of byte i / 8, numbers
// have their lowest bit first. rows * cols is at most 2^40.

#ifndef SHIRA_ADAPTERS_FORMAT_PACKED_POSITIONS_H_
#define SHIRA_ADAPTERS_FORMAT_PACKED_POSITIONS_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "adapters/index_table.h"

namespace shira {

// The table's code, with the parameter that makes it shortest. INVALID_ARGUMENT for a table of more
// than 2^40 elements, or with a side of 2^32 or more.
absl::StatusOr<std::string> PackPositions(const IndexTable& table);

// What a packed table says of itself, before its gaps are read.
struct PackedTableShape {
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t entries = 0;
};

// INVALID_ARGUMENT for a header that is cut short, a shape that is empty or beyond 2^40 elements,
// entries that are none or more than elements, or more than the bytes can hold.
absl::StatusOr<PackedTableShape> ReadPackedTableShape(absl::Span<const std::byte> packed);

// The inverse of PackPositions. INVALID_ARGUMENT, beside the above, for positions beyond the shape,
// a gap coded longer than it has to be, and bytes that are missing, left over or not zero. Memory
// is taken for ReadPackedTableShape().entries.
absl::StatusOr<std::shared_ptr<const IndexTable>> UnpackPositions(
    absl::Span<const std::byte> packed);

// A packed table of a file, to be decoded when the model's shape has been compared with its own: a
// shape of the file's choice would cost memory of the file's choice. Thread-compatible.
class PackedTable {
 public:
  // Errors of ReadPackedTableShape(). `packed` must outlive the object.
  static absl::StatusOr<PackedTable> Create(absl::Span<const std::byte> packed);

  const PackedTableShape& shape() const { return shape_; }
  // UnpackPositions(), once: several parameters may have the same table.
  const absl::StatusOr<std::shared_ptr<const IndexTable>>& Unpack();

 private:
  PackedTable(absl::Span<const std::byte> packed, PackedTableShape shape)
      : packed_(packed), shape_(shape) {}

  absl::Span<const std::byte> packed_;
  PackedTableShape shape_;
  std::optional<absl::StatusOr<std::shared_ptr<const IndexTable>>> unpacked_;
};

}  // namespace shira

#endif  // SHIRA_ADAPTERS_FORMAT_PACKED_POSITIONS_H_
