#include "base/gguf_file.h"

#include <bit>
#include <cstring>
#include <optional>
#include <type_traits>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace {

static_assert(std::endian::native == std::endian::little,
              "values are used as they lie in the file");

constexpr std::string_view kMagic = "GGUF";
constexpr uint64_t kDefaultAlignment = 32;
constexpr uint32_t kMaxDimensions = 4;

struct GgmlTypeFacts {
  GgmlType type;
  std::string_view name;
  GgmlBlock block;
};

constexpr GgmlTypeFacts kTypes[] = {
    {GgmlType::kF32, "F32", {1, 4}},       {GgmlType::kF16, "F16", {1, 2}},
    {GgmlType::kBF16, "BF16", {1, 2}},     {GgmlType::kQ4_0, "Q4_0", {32, 18}},
    {GgmlType::kQ4_1, "Q4_1", {32, 20}},   {GgmlType::kQ5_0, "Q5_0", {32, 22}},
    {GgmlType::kQ5_1, "Q5_1", {32, 24}},   {GgmlType::kQ8_0, "Q8_0", {32, 34}},
    {GgmlType::kQ4_K, "Q4_K", {256, 144}}, {GgmlType::kQ5_K, "Q5_K", {256, 176}},
    {GgmlType::kQ6_K, "Q6_K", {256, 210}}, {GgmlType::kMXFP4, "MXFP4", {32, 17}},
};

// nullptr for a type that this program does not read.
const GgmlTypeFacts* FindType(uint32_t number) {
  for (const GgmlTypeFacts& facts : kTypes) {
    if (static_cast<uint32_t>(facts.type) == number) return &facts;
  }
  return nullptr;
}

std::string KnownTypeNames() {
  std::string names;
  for (const GgmlTypeFacts& facts : kTypes)
    StrAppend(&names, names.empty() ? "" : ", ", facts.name);
  return names;
}

// The format's numbers for the types of metadata values.
enum ValueType : uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

// Reads forward through bytes; no read passes their end.
class Cursor {
 public:
  explicit Cursor(absl::Span<const std::byte> bytes) : bytes_(bytes) {}

  uint64_t position() const { return position_; }
  uint64_t remaining() const { return bytes_.size() - position_; }

  template <typename T>
  absl::StatusOr<T> Read() {
    if (remaining() < sizeof(T)) return Truncated();
    T value;
    std::memcpy(&value, bytes_.data() + position_, sizeof(T));
    position_ += sizeof(T);
    return value;
  }

  absl::StatusOr<std::string> ReadString() {
    SHIRA_ASSIGN_OR_RETURN(const uint64_t length, Read<uint64_t>());
    if (length > remaining()) return Truncated();
    std::string text(reinterpret_cast<const char*>(bytes_.data()) + position_, length);
    position_ += length;
    return text;
  }

  // A count of items that follow and take at least item_bytes each: one that the rest of the file
  // cannot hold is refused here, before memory is allocated for it.
  absl::StatusOr<uint64_t> ReadCount(uint64_t item_bytes) {
    SHIRA_ASSIGN_OR_RETURN(const uint64_t count, Read<uint64_t>());
    return CheckCount(count, item_bytes);
  }
  absl::StatusOr<uint64_t> CheckCount(uint64_t count, uint64_t item_bytes) const {
    if (count <= remaining() / item_bytes) return count;
    return absl::InvalidArgumentError(StrCat("a count of ", count, " before byte ", position_,
                                             " is more than the file can hold"));
  }

 private:
  absl::Status Truncated() const {
    return absl::InvalidArgumentError(
        StrCat("the file ends inside its tables, at byte ", position_, " (truncated?)"));
  }

  absl::Span<const std::byte> bytes_;
  uint64_t position_ = 0;
};

template <typename T>
absl::StatusOr<GgufValue> ReadScalar(Cursor& cursor) {
  SHIRA_ASSIGN_OR_RETURN(const T value, cursor.Read<T>());
  if constexpr (std::is_floating_point_v<T>) {
    return static_cast<double>(value);
  } else if constexpr (std::is_same_v<T, uint64_t>) {
    return value;
  } else {
    return static_cast<int64_t>(value);
  }
}

template <typename T>
absl::StatusOr<GgufValue> ReadNumbers(Cursor& cursor, uint64_t count) {
  SHIRA_RETURN_IF_ERROR(cursor.CheckCount(count, sizeof(T)).status());
  std::vector<std::conditional_t<std::is_floating_point_v<T>, double, int64_t>> values;
  values.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    SHIRA_ASSIGN_OR_RETURN(const T value, cursor.Read<T>());
    if constexpr (std::is_same_v<T, uint64_t>) {
      if (value > static_cast<uint64_t>(INT64_MAX)) {
        return absl::InvalidArgumentError("an array holds a number beyond 2^63");
      }
    }
    values.push_back(value);
  }
  return values;
}

absl::StatusOr<GgufValue> ReadArray(Cursor& cursor) {
  SHIRA_ASSIGN_OR_RETURN(const uint32_t type, cursor.Read<uint32_t>());
  SHIRA_ASSIGN_OR_RETURN(const uint64_t count, cursor.ReadCount(/*item_bytes=*/1));
  switch (type) {
    case kUint8:
      return ReadNumbers<uint8_t>(cursor, count);
    case kInt8:
      return ReadNumbers<int8_t>(cursor, count);
    case kUint16:
      return ReadNumbers<uint16_t>(cursor, count);
    case kInt16:
      return ReadNumbers<int16_t>(cursor, count);
    case kUint32:
      return ReadNumbers<uint32_t>(cursor, count);
    case kInt32:
      return ReadNumbers<int32_t>(cursor, count);
    case kUint64:
      return ReadNumbers<uint64_t>(cursor, count);
    case kInt64:
      return ReadNumbers<int64_t>(cursor, count);
    case kFloat32:
      return ReadNumbers<float>(cursor, count);
    case kFloat64:
      return ReadNumbers<double>(cursor, count);
    case kBool: {
      std::vector<bool> values(count);
      for (uint64_t i = 0; i < count; ++i) {
        SHIRA_ASSIGN_OR_RETURN(const uint8_t value, cursor.Read<uint8_t>());
        values[i] = value != 0;
      }
      return values;
    }
    case kString: {
      SHIRA_RETURN_IF_ERROR(cursor.CheckCount(count, /*item_bytes=*/sizeof(uint64_t)).status());
      std::vector<std::string> values;
      values.reserve(count);
      for (uint64_t i = 0; i < count; ++i) {
        SHIRA_ASSIGN_OR_RETURN(values.emplace_back(), cursor.ReadString());
      }
      return values;
    }
    default:
      return absl::InvalidArgumentError(StrCat("arrays of type ", type, " are unknown"));
  }
}

absl::StatusOr<GgufValue> ReadValue(Cursor& cursor) {
  SHIRA_ASSIGN_OR_RETURN(const uint32_t type, cursor.Read<uint32_t>());
  switch (type) {
    case kUint8:
      return ReadScalar<uint8_t>(cursor);
    case kInt8:
      return ReadScalar<int8_t>(cursor);
    case kUint16:
      return ReadScalar<uint16_t>(cursor);
    case kInt16:
      return ReadScalar<int16_t>(cursor);
    case kUint32:
      return ReadScalar<uint32_t>(cursor);
    case kInt32:
      return ReadScalar<int32_t>(cursor);
    case kUint64:
      return ReadScalar<uint64_t>(cursor);
    case kInt64:
      return ReadScalar<int64_t>(cursor);
    case kFloat32:
      return ReadScalar<float>(cursor);
    case kFloat64:
      return ReadScalar<double>(cursor);
    case kBool: {
      SHIRA_ASSIGN_OR_RETURN(const uint8_t value, cursor.Read<uint8_t>());
      return value != 0;
    }
    case kString:
      return cursor.ReadString();
    case kArray:
      return ReadArray(cursor);
    default:
      return absl::InvalidArgumentError(StrCat("values of type ", type, " are unknown"));
  }
}

// One line of the tensor table; the data comes after the table.
struct TensorRecord {
  GgufTensor tensor;
  uint64_t offset;  // from the start of the data
  uint64_t bytes;
};

absl::StatusOr<TensorRecord> ReadTensorRecord(Cursor& cursor) {
  SHIRA_ASSIGN_OR_RETURN(const uint32_t rank, cursor.Read<uint32_t>());
  if (rank > kMaxDimensions) {
    return absl::InvalidArgumentError(
        StrCat("has ", rank, " dimensions; the format allows ", kMaxDimensions));
  }
  std::vector<int64_t> shape(rank);
  int64_t elements = 1;
  for (auto dimension = shape.rbegin(); dimension != shape.rend(); ++dimension) {
    SHIRA_ASSIGN_OR_RETURN(const uint64_t size, cursor.Read<uint64_t>());
    if (size > static_cast<uint64_t>(INT64_MAX) ||
        __builtin_mul_overflow(elements, static_cast<int64_t>(size), &elements)) {
      return absl::InvalidArgumentError("the size of its shape overflows");
    }
    *dimension = static_cast<int64_t>(size);
  }
  SHIRA_ASSIGN_OR_RETURN(const uint32_t type, cursor.Read<uint32_t>());
  SHIRA_ASSIGN_OR_RETURN(const uint64_t offset, cursor.Read<uint64_t>());

  const GgmlTypeFacts* facts = FindType(type);
  if (facts == nullptr) {
    return absl::InvalidArgumentError(
        StrCat("has ggml type ", type, ", which is not one of ", KnownTypeNames()));
  }
  const int64_t row = shape.empty() ? 1 : shape.back();
  if (row % facts->block.elements != 0) {
    return absl::InvalidArgumentError(StrCat("has rows of ", row,
                                             " elements, which is no whole number of ", facts->name,
                                             " blocks of ", facts->block.elements));
  }
  int64_t bytes;
  if (__builtin_mul_overflow(elements / facts->block.elements, facts->block.bytes, &bytes)) {
    return absl::InvalidArgumentError("the size of its shape overflows");
  }
  return TensorRecord{{facts->type, std::move(shape), {}}, offset, static_cast<uint64_t>(bytes)};
}

absl::Status ReadMetadata(Cursor& cursor, uint64_t count,
                          std::map<std::string, GgufValue>& metadata) {
  for (uint64_t i = 0; i < count; ++i) {
    SHIRA_ASSIGN_OR_RETURN(const std::string key, cursor.ReadString());
    absl::StatusOr<GgufValue> value = ReadValue(cursor);
    if (!value.ok()) {
      return absl::InvalidArgumentError(StrCat("metadata '", key, "': ", value.status().message()));
    }
    if (!metadata.emplace(key, *std::move(value)).second) {
      return absl::InvalidArgumentError(StrCat("metadata '", key, "' occurs twice"));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadTensorTable(Cursor& cursor, uint64_t count,
                             std::map<std::string, TensorRecord>& records) {
  for (uint64_t i = 0; i < count; ++i) {
    SHIRA_ASSIGN_OR_RETURN(const std::string name, cursor.ReadString());
    absl::StatusOr<TensorRecord> record = ReadTensorRecord(cursor);
    if (!record.ok()) {
      return absl::InvalidArgumentError(StrCat("tensor '", name, "': ", record.status().message()));
    }
    if (!records.emplace(name, *std::move(record)).second) {
      return absl::InvalidArgumentError(StrCat("tensor '", name, "' occurs twice"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> AlignmentOf(const GgufFile& file) {
  if (file.FindMetadata("general.alignment") == nullptr) return kDefaultAlignment;
  SHIRA_ASSIGN_OR_RETURN(const int64_t alignment, file.GetInt("general.alignment"));
  if (alignment <= 0 || !std::has_single_bit(static_cast<uint64_t>(alignment))) {
    return absl::InvalidArgumentError(
        StrCat(file.source(), ": general.alignment is ", alignment, ", not a power of two"));
  }
  return static_cast<uint64_t>(alignment);
}

}  // namespace

std::string_view GgmlTypeName(GgmlType type) { return FindType(static_cast<uint32_t>(type))->name; }

GgmlBlock GgmlBlockOf(GgmlType type) { return FindType(static_cast<uint32_t>(type))->block; }

absl::StatusOr<GgufFile> GgufFile::Parse(absl::Span<const std::byte> bytes,
                                         std::string_view source) {
  const auto refuse = [source](const auto&... parts) {
    return absl::InvalidArgumentError(StrCat(source, ": ", parts...));
  };
  if (bytes.size() < kMagic.size() ||
      std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) {
    return refuse("not a GGUF file: it does not begin with 'GGUF'");
  }
  Cursor cursor(bytes);
  GgufFile file;
  file.source_ = std::string(source);
  std::map<std::string, TensorRecord> records;

  const absl::Status tables = [&]() -> absl::Status {
    SHIRA_RETURN_IF_ERROR(cursor.Read<uint32_t>().status());  // the magic
    SHIRA_ASSIGN_OR_RETURN(const uint32_t version, cursor.Read<uint32_t>());
    if (version != 2 && version != 3) {
      return absl::InvalidArgumentError(
          StrCat("GGUF version ", version, "; this program reads little-endian versions 2 and 3"));
    }
    // The shortest line of either table: a name's length, and a type and one byte, or a rank, a
    // type and an offset.
    SHIRA_ASSIGN_OR_RETURN(const uint64_t tensor_count, cursor.ReadCount(/*item_bytes=*/24));
    SHIRA_ASSIGN_OR_RETURN(const uint64_t metadata_count, cursor.ReadCount(/*item_bytes=*/13));
    SHIRA_RETURN_IF_ERROR(ReadMetadata(cursor, metadata_count, file.metadata_));
    return ReadTensorTable(cursor, tensor_count, records);
  }();
  if (!tables.ok()) return refuse(tables.message());

  SHIRA_ASSIGN_OR_RETURN(const uint64_t alignment, AlignmentOf(file));
  const uint64_t padding = (alignment - cursor.position() % alignment) % alignment;
  const absl::Span<const std::byte> data = padding <= cursor.remaining()
                                               ? bytes.subspan(cursor.position() + padding)
                                               : absl::Span<const std::byte>();
  for (auto& [name, record] : records) {
    if (record.offset % alignment != 0) {
      return refuse("tensor '", name, "' begins at byte ", record.offset,
                    " of the data, which is no multiple of the alignment ", alignment);
    }
    if (record.bytes > data.size() || record.offset > data.size() - record.bytes) {
      return refuse("tensor '", name, "' lies outside of the file: ", record.bytes, " bytes at ",
                    record.offset, " of ", data.size(), " bytes of data (truncated?)");
    }
    record.tensor.data = data.subspan(record.offset, record.bytes);
    file.tensors_.emplace(name, std::move(record.tensor));
  }
  return file;
}

const GgufValue* GgufFile::FindMetadata(std::string_view key) const {
  const auto found = metadata_.find(std::string(key));
  return found == metadata_.end() ? nullptr : &found->second;
}

namespace {

absl::Status Absent(const GgufFile& file, std::string_view key) {
  return absl::NotFoundError(StrCat(file.source(), ": metadata '", key, "' is absent"));
}

absl::Status OtherType(const GgufFile& file, std::string_view key, std::string_view expected) {
  return absl::InvalidArgumentError(
      StrCat(file.source(), ": metadata '", key, "' is not ", expected));
}

}  // namespace

absl::StatusOr<int64_t> GgufFile::GetInt(std::string_view key) const {
  const GgufValue* value = FindMetadata(key);
  if (value == nullptr) return Absent(*this, key);
  if (const int64_t* number = std::get_if<int64_t>(value)) return *number;
  const uint64_t* number = std::get_if<uint64_t>(value);
  if (number == nullptr || *number > static_cast<uint64_t>(INT64_MAX)) {
    return OtherType(*this, key, "an integer below 2^63");
  }
  return static_cast<int64_t>(*number);
}

absl::StatusOr<double> GgufFile::GetFloat(std::string_view key) const {
  const GgufValue* value = FindMetadata(key);
  if (value == nullptr) return Absent(*this, key);
  const double* number = std::get_if<double>(value);
  if (number == nullptr) return OtherType(*this, key, "a floating-point number");
  return *number;
}

absl::StatusOr<std::string> GgufFile::GetString(std::string_view key) const {
  const GgufValue* value = FindMetadata(key);
  if (value == nullptr) return Absent(*this, key);
  const std::string* text = std::get_if<std::string>(value);
  if (text == nullptr) return OtherType(*this, key, "a string");
  return *text;
}

absl::StatusOr<std::optional<int64_t>> GgufFile::GetTokenId(std::string_view key) const {
  if (FindMetadata(key) == nullptr) return std::nullopt;
  SHIRA_ASSIGN_OR_RETURN(const int64_t id, GetInt(key));
  if (id == -1 || id == int64_t{UINT32_MAX}) return std::nullopt;
  return id;
}

absl::Status GgufFile::AddTensorsOf(GgufFile part) {
  for (const auto& [name, tensor] : part.tensors_) {
    if (tensors_.count(name) == 0) continue;
    return absl::InvalidArgumentError(
        StrCat(part.source_, ": tensor '", name, "' is in another file of the model too"));
  }
  tensors_.merge(part.tensors_);
  return absl::OkStatus();
}

}  // namespace shira
