#include "base/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/status/status.h"
#include "base/excerpt.h"
#include "base/safetensors_writer.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace {

constexpr size_t kMaxProblemBytes = 600;

static_assert(std::endian::native == std::endian::little,
              "tensors are used as they lie in the file");

// nullopt when a dimension is negative or the size does not fit int64_t.
std::optional<uint64_t> BytesOf(DType dtype, const std::vector<int64_t>& shape) {
  int64_t bytes = static_cast<int64_t>(DTypeSize(dtype));
  for (const int64_t dimension : shape) {
    if (dimension < 0 || __builtin_mul_overflow(bytes, dimension, &bytes)) return std::nullopt;
  }
  return static_cast<uint64_t>(bytes);
}

// What the header says about one tensor; which fields it had, to tell absent from empty.
struct HeaderEntry {
  std::optional<std::string> dtype;
  std::optional<std::vector<int64_t>> shape;
  std::optional<std::vector<int64_t>> data_offsets;
};

// Reads the header without building a JSON tree: the grammar is two levels deep, so nesting is
// refused where it starts, and duplicate names, which a tree would swallow, are seen.
class HeaderHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::map<std::string, HeaderEntry> entries;
  std::map<std::string, std::string> metadata;
  std::string problem;

  bool start_object(std::size_t) override {
    if (depth_ == 2 || list_ != nullptr) return Refuse("an object");
    ++depth_;
    return true;
  }

  bool end_object() override {
    --depth_;
    return true;
  }

  bool key(string_t& name) override {
    if (depth_ == 2) {
      field_ = name;
      return true;
    }
    name_ = name;
    field_.clear();
    entry_ = nullptr;
    if (name == kSafetensorsMetadataName) {
      if (!has_metadata_) return has_metadata_ = true;
    } else if (const auto [entry, added] = entries.try_emplace(name); added) {
      entry_ = &entry->second;
      return true;
    }
    problem = StrCat("the name '", name, "' occurs twice");
    return false;
  }

  bool string(string_t& value) override {
    if (depth_ != 2 || list_ != nullptr) return Refuse("a string");
    if (entry_ == nullptr) {
      return metadata.try_emplace(field_, std::move(value)).second || RefuseDuplicate();
    }
    if (field_ != "dtype") return Refuse("a string");
    if (entry_->dtype.has_value()) return RefuseDuplicate();
    entry_->dtype = std::move(value);
    return true;
  }

  bool start_array(std::size_t) override {
    if (depth_ != 2 || entry_ == nullptr || list_ != nullptr) return Refuse("a list");
    if (field_ != "shape" && field_ != "data_offsets") return Refuse("a list");
    std::optional<std::vector<int64_t>>& list =
        field_ == "shape" ? entry_->shape : entry_->data_offsets;
    if (list.has_value()) return RefuseDuplicate();
    list_ = &list.emplace();
    return true;
  }

  bool end_array() override {
    list_ = nullptr;
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (list_ == nullptr) return Refuse("a number");
    if (value > static_cast<uint64_t>(INT64_MAX)) return Refuse("a number beyond 2^63");
    list_->push_back(static_cast<int64_t>(value));
    return true;
  }

  bool number_integer(number_integer_t) override { return Refuse("a negative number"); }
  bool number_float(number_float_t, const string_t&) override {
    return Refuse("a number that is no integer");
  }
  bool null() override { return Refuse("null"); }
  bool boolean(bool) override { return Refuse("a truth value"); }
  bool binary(binary_t&) override { return Refuse("binary data"); }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::json::exception&) override {
    problem = StrCat("the header is not valid JSON at byte ", position);
    return false;
  }

 private:
  bool Refuse(std::string_view found) {
    problem = depth_ == 0 ? StrCat("the header must be a JSON object, not ", found)
                          : StrCat("tensor '", name_, "', field '", field_, "': ", found,
                                   " does not belong here");
    return false;
  }

  bool RefuseDuplicate() {
    problem = StrCat("tensor '", name_, "': the field '", field_, "' occurs twice");
    return false;
  }

  int depth_ = 0;
  std::string name_;
  std::string field_;
  bool has_metadata_ = false;
  HeaderEntry* entry_ = nullptr;          // nullptr inside __metadata__
  std::vector<int64_t>* list_ = nullptr;  // the list being read
};

struct PlacedTensor {
  uint64_t begin;
  uint64_t end;
  const std::string* name;
};

// The tensor that an entry describes, without its place among the others.
absl::StatusOr<TensorView> MakeView(const HeaderEntry& entry, absl::Span<const std::byte> data) {
  if (!entry.dtype || !entry.shape || !entry.data_offsets) {
    return absl::InvalidArgumentError("needs the fields dtype, shape and data_offsets");
  }
  const std::optional<DType> dtype = ParseDType(*entry.dtype);
  if (!dtype) return absl::InvalidArgumentError(StrCat("unknown dtype '", *entry.dtype, "'"));
  const std::optional<uint64_t> bytes = BytesOf(*dtype, *entry.shape);
  if (!bytes) return absl::InvalidArgumentError("the size of its shape overflows");
  const std::vector<int64_t>& offsets = *entry.data_offsets;
  if (offsets.size() != 2 || offsets[0] > offsets[1]) {
    return absl::InvalidArgumentError("data_offsets must be [begin, end] with begin <= end");
  }
  const uint64_t begin = static_cast<uint64_t>(offsets[0]);
  const uint64_t end = static_cast<uint64_t>(offsets[1]);
  if (end > data.size()) {
    return absl::InvalidArgumentError(StrCat("data_offsets end at ", end, " but the file has ",
                                             data.size(), " bytes of data (truncated?)"));
  }
  if (end - begin != *bytes) {
    return absl::InvalidArgumentError(
        StrCat("data_offsets span ", end - begin, " bytes but its dtype and shape need ", *bytes));
  }
  return TensorView{*dtype, *entry.shape, data.subspan(begin, end - begin)};
}

// Sorted by place, each tensor must begin where the one before ended, and the last must end the
// data.
absl::Status CheckContiguous(std::vector<PlacedTensor> placed, uint64_t data_bytes) {
  std::sort(placed.begin(), placed.end(), [](const PlacedTensor& a, const PlacedTensor& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t expected = 0;
  for (const PlacedTensor& tensor : placed) {
    if (tensor.begin != expected) {
      return absl::InvalidArgumentError(
          StrCat("tensor '", *tensor.name, "' begins at byte ", tensor.begin, " where ", expected,
                 " is expected: tensors ", tensor.begin < expected ? "overlap" : "leave a gap"));
    }
    expected = tensor.end;
  }
  if (expected != data_bytes) {
    return absl::InvalidArgumentError(StrCat("the tensors end at byte ", expected,
                                             " but the file has ", data_bytes, " bytes of data"));
  }
  return absl::OkStatus();
}

}  // namespace

int64_t TensorView::elements() const {
  int64_t product = 1;
  for (const int64_t dimension : shape) product *= dimension;
  return product;
}

absl::StatusOr<Safetensors> Safetensors::Parse(absl::Span<const std::byte> bytes,
                                               std::string_view source) {
  const auto refuse = [source](const auto&... parts) {
    // A name in it is as long as the file wants it to be.
    return absl::InvalidArgumentError(
        StrCat(source, ": ", Excerpt(StrCat(parts...), kMaxProblemBytes)));
  };
  if (bytes.size() < kSafetensorsLengthBytes) {
    return refuse("not a safetensors file: ", bytes.size(), " bytes hold no header length");
  }
  uint64_t header_bytes;
  std::memcpy(&header_bytes, bytes.data(), kSafetensorsLengthBytes);
  if (header_bytes > kSafetensorsMaxHeaderBytes) {
    return refuse("not a safetensors file: a header of ", header_bytes,
                  " bytes is beyond the limit of ", kSafetensorsMaxHeaderBytes);
  }
  if (header_bytes > bytes.size() - kSafetensorsLengthBytes) {
    return refuse("the header should have ", header_bytes, " bytes but the file has only ",
                  bytes.size() - kSafetensorsLengthBytes, " after its length (truncated?)");
  }

  HeaderHandler header;
  const char* text = reinterpret_cast<const char*>(bytes.data()) + kSafetensorsLengthBytes;
  if (!nlohmann::json::sax_parse(text, text + header_bytes, &header)) {
    return refuse(header.problem);
  }

  Safetensors result;
  result.source_ = std::string(source);
  result.metadata_ = std::move(header.metadata);
  const absl::Span<const std::byte> data = bytes.subspan(kSafetensorsLengthBytes + header_bytes);
  std::vector<PlacedTensor> placed;
  for (const auto& [name, entry] : header.entries) {
    absl::StatusOr<TensorView> view = MakeView(entry, data);
    if (!view.ok()) return refuse("tensor '", name, "': ", view.status().message());
    const uint64_t begin = static_cast<uint64_t>((*entry.data_offsets)[0]);
    placed.push_back({begin, begin + view->data.size(), &name});
    result.tensors_.emplace(name, *std::move(view));
  }
  if (const absl::Status status = CheckContiguous(std::move(placed), data.size()); !status.ok()) {
    return refuse(status.message());
  }
  return result;
}

const TensorView* Safetensors::Find(std::string_view name) const {
  const auto found = tensors_.find(std::string(name));
  return found == tensors_.end() ? nullptr : &found->second;
}

absl::StatusOr<std::string> SerializeSafetensors(
    const std::map<std::string, TensorView>& tensors,
    const std::map<std::string, std::string>& metadata) {
  std::vector<TensorDeclaration> declarations;
  for (const auto& [name, tensor] : tensors) {
    if (BytesOf(tensor.dtype, tensor.shape) != tensor.data.size()) {
      return absl::InvalidArgumentError(StrCat("tensor '", name, "' has ", tensor.data.size(),
                                               " bytes, not what its dtype and shape say"));
    }
    declarations.push_back({name, tensor.dtype, tensor.shape});
  }
  SHIRA_ASSIGN_OR_RETURN(std::string file, MakeSafetensorsHeader(declarations, metadata));
  for (const auto& [name, tensor] : tensors) {
    file.append(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size());
  }
  return file;
}

}  // namespace shira
