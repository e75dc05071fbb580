#include "adapters/format/packed_positions.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace {

static_assert(std::endian::native == std::endian::little, "words are read as they lie in the file");

constexpr size_t kHeaderBytes = 16;
constexpr uint32_t kMaxParameter = 31;
constexpr int64_t kMaxElements = int64_t{1} << 40;
constexpr unsigned kEscape = 24;   // so many zero bits announce a gap as it is
constexpr unsigned kGapBits = 40;  // of such a gap
constexpr size_t kWordBytes = 8;

struct Header {
  uint32_t rows;
  uint32_t cols;
  uint32_t entries;
  uint32_t parameter;
};
static_assert(sizeof(Header) == kHeaderBytes);

constexpr uint64_t LowBits(unsigned count) { return (uint64_t{1} << count) - 1; }

bool EscapesAt(uint64_t gap, uint32_t parameter) { return (gap >> parameter) >= kEscape; }

uint64_t CodeBits(uint64_t gap, uint32_t parameter) {
  return EscapesAt(gap, parameter) ? kEscape + kGapBits : (gap >> parameter) + 1 + parameter;
}

// Bits to bytes, lowest first.
class BitWriter {
 public:
  explicit BitWriter(std::string& out) : out_(out) {}

  // REQUIRES: count <= 57 and value < 2^count.
  void Write(uint64_t value, unsigned count) {
    pending_ |= value << filled_;
    filled_ += count;
    for (; filled_ >= 8; filled_ -= 8, pending_ >>= 8) out_ += static_cast<char>(pending_ & 0xFF);
  }
  // Zero bits up to a whole number of words.
  void Finish() {
    Write(0, (8 - filled_) % 8);
    out_.append((kWordBytes - out_.size() % kWordBytes) % kWordBytes, '\0');
  }

 private:
  std::string& out_;
  uint64_t pending_ = 0;
  unsigned filled_ = 0;
};

// Bytes to bits. Beyond the end there are zeros, and used_bits() tells that they were used.
class BitReader {
 public:
  explicit BitReader(absl::Span<const std::byte> bytes) : bytes_(bytes) {}

  // At least the next 57 bits, lowest first.
  uint64_t Peek() const {
    uint64_t word = 0;
    const size_t first = used_ / 8;
    if (first < bytes_.size()) {
      std::memcpy(&word, bytes_.data() + first, std::min(kWordBytes, bytes_.size() - first));
    }
    return word >> (used_ % 8);
  }
  void Skip(unsigned count) { used_ += count; }
  uint64_t used_bits() const { return used_; }

 private:
  absl::Span<const std::byte> bytes_;
  uint64_t used_ = 0;
};

std::vector<uint64_t> GapsOf(const IndexTable& table) {
  std::vector<uint64_t> gaps(table.entries());
  int64_t next = 0;
  table.ForEach([&](auto entry, int64_t position) {
    gaps[entry] = static_cast<uint64_t>(position - next);
    next = position + 1;
  });
  return gaps;
}

uint32_t BestParameter(const std::vector<uint64_t>& gaps) {
  uint32_t best = 0;
  uint64_t best_bits = std::numeric_limits<uint64_t>::max();
  for (uint32_t parameter = 0; parameter <= kMaxParameter; ++parameter) {
    uint64_t bits = 0;
    for (const uint64_t gap : gaps) bits += CodeBits(gap, parameter);
    if (bits < best_bits) {
      best_bits = bits;
      best = parameter;
    }
  }
  return best;
}

template <typename... Parts>
absl::Status Refuse(const Parts&... parts) {
  return absl::InvalidArgumentError(StrCat(parts...));
}

absl::StatusOr<Header> ReadHeader(absl::Span<const std::byte> packed) {
  if (packed.size() < kHeaderBytes) {
    return Refuse("expected a header of ", kHeaderBytes, " bytes, found ", packed.size());
  }
  Header header;
  std::memcpy(&header, packed.data(), kHeaderBytes);
  const uint64_t elements = uint64_t{header.rows} * header.cols;
  if (elements == 0 || elements > static_cast<uint64_t>(kMaxElements)) {
    return Refuse("expected a shape of 1 to 2^40 elements, found [", header.rows, ", ", header.cols,
                  "]");
  }
  if (header.entries == 0 || header.entries > elements) {
    return Refuse("expected 1 to ", elements, " entries, found ", header.entries);
  }
  if (header.parameter > kMaxParameter) {
    return Refuse("expected a code parameter below 32, found ", header.parameter);
  }
  // The shortest code has one bit, so no file can ask for more memory than 8 positions per byte.
  if (header.entries < elements && header.entries > 8 * (packed.size() - kHeaderBytes)) {
    return Refuse("expected bytes for ", header.entries, " entries, found ",
                  packed.size() - kHeaderBytes);
  }
  return header;
}

}  // namespace

absl::StatusOr<std::string> PackPositions(const IndexTable& table) {
  const int64_t elements = table.rows() * table.cols();
  if (elements > kMaxElements || std::max(table.rows(), table.cols()) >= int64_t{1} << 32) {
    return Refuse(
        "expected a matrix of at most 2^40 elements and below 2^32 rows and columns, "
        "found [",
        table.rows(), ", ", table.cols(), "]");
  }
  const bool every = table.entries() == elements;
  const std::vector<uint64_t> gaps = every ? std::vector<uint64_t>() : GapsOf(table);
  const Header header = {static_cast<uint32_t>(table.rows()), static_cast<uint32_t>(table.cols()),
                         static_cast<uint32_t>(table.entries()), every ? 0 : BestParameter(gaps)};
  std::string packed(reinterpret_cast<const char*>(&header), kHeaderBytes);
  BitWriter bits(packed);
  for (const uint64_t gap : gaps) {
    if (EscapesAt(gap, header.parameter)) {
      bits.Write(0, kEscape);
      bits.Write(gap, kGapBits);
      continue;
    }
    const unsigned q = static_cast<unsigned>(gap >> header.parameter);
    bits.Write(uint64_t{1} << q, q + 1);
    bits.Write(gap & LowBits(header.parameter), header.parameter);
  }
  bits.Finish();
  return packed;
}

absl::StatusOr<PackedTableShape> ReadPackedTableShape(absl::Span<const std::byte> packed) {
  SHIRA_ASSIGN_OR_RETURN(const Header header, ReadHeader(packed));
  return PackedTableShape{header.rows, header.cols, header.entries};
}

absl::StatusOr<std::shared_ptr<const IndexTable>> UnpackPositions(
    absl::Span<const std::byte> packed) {
  SHIRA_ASSIGN_OR_RETURN(const Header header, ReadHeader(packed));
  const int64_t elements = int64_t{header.rows} * header.cols;
  const absl::Span<const std::byte> coded = packed.subspan(kHeaderBytes);
  std::vector<int64_t> positions(header.entries);
  BitReader bits(coded);
  int64_t next = 0;
  for (size_t i = 0; i < positions.size(); ++i) {
    uint64_t gap = 0;
    if (header.entries < elements) {
      uint64_t window = bits.Peek();
      const unsigned q = static_cast<unsigned>(std::countr_zero(window));
      if (q < kEscape) {
        // 24 + 31 bits at most: within what Peek() promises.
        gap = (uint64_t{q} << header.parameter) | ((window >> (q + 1)) & LowBits(header.parameter));
        bits.Skip(q + 1 + header.parameter);
      } else {
        bits.Skip(kEscape);
        gap = bits.Peek() & LowBits(kGapBits);
        bits.Skip(kGapBits);
        if (!EscapesAt(gap, header.parameter)) {
          return Refuse("entry ", i, ": expected the short code of a gap of ", gap,
                        ", found the long one, or the end");
        }
      }
    }
    const int64_t position = next + static_cast<int64_t>(gap);
    if (position >= elements) {
      return Refuse("entry ", i, ": expected a position below ", elements, ", found ", position);
    }
    positions[i] = position;
    next = position + 1;
  }
  const uint64_t used_bytes = (bits.used_bits() + 63) / 64 * kWordBytes;
  if (used_bytes != coded.size()) {
    return Refuse("expected ", used_bytes, " bytes of positions, found ", coded.size());
  }
  for (uint64_t bit = bits.used_bits(); bit < 8 * coded.size(); ++bit) {
    if ((static_cast<unsigned>(coded[bit / 8]) >> (bit % 8) & 1) != 0) {
      return Refuse("expected zero bits after the last position");
    }
  }
  return IndexTable::Create(header.rows, header.cols, positions);
}

absl::StatusOr<PackedTable> PackedTable::Create(absl::Span<const std::byte> packed) {
  SHIRA_ASSIGN_OR_RETURN(const PackedTableShape shape, ReadPackedTableShape(packed));
  return PackedTable(packed, shape);
}

const absl::StatusOr<std::shared_ptr<const IndexTable>>& PackedTable::Unpack() {
  if (!unpacked_.has_value()) unpacked_ = UnpackPositions(packed_);
  return *unpacked_;
}

}  // namespace shira
