#include "base/safetensors_writer.h"

#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "base/safetensors.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace {

constexpr size_t kAlignment = 8;

// nullopt when a dimension is negative or the size does not fit int64_t.
std::optional<int64_t> BytesOf(const TensorDeclaration& tensor) {
  int64_t bytes = static_cast<int64_t>(DTypeSize(tensor.dtype));
  for (const int64_t dimension : tensor.shape) {
    if (dimension < 0 || __builtin_mul_overflow(bytes, dimension, &bytes)) return std::nullopt;
  }
  return bytes;
}

}  // namespace

absl::StatusOr<std::string> MakeSafetensorsHeader(
    absl::Span<const TensorDeclaration> tensors,
    const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  std::map<std::string_view, int> seen;
  if (!metadata.empty()) header[std::string(kSafetensorsMetadataName)] = metadata;
  // Members are appended to the object's list: looking each name up would take quadratic time.
  auto& members = header.get_ref<nlohmann::ordered_json::object_t&>();
  int64_t offset = 0;
  for (const TensorDeclaration& tensor : tensors) {
    if (tensor.name == kSafetensorsMetadataName) {
      return absl::InvalidArgumentError(
          StrCat("no tensor can be named ", kSafetensorsMetadataName));
    }
    if (seen[tensor.name]++ > 0) {
      return absl::InvalidArgumentError(StrCat("two tensors are named '", tensor.name, "'"));
    }
    const std::optional<int64_t> bytes = BytesOf(tensor);
    int64_t end;
    if (!bytes || __builtin_add_overflow(offset, *bytes, &end)) {
      return absl::InvalidArgumentError(
          StrCat("tensor '", tensor.name, "': its shape is negative or too large"));
    }
    members.emplace_back(
        tensor.name, nlohmann::ordered_json{{"dtype", std::string(DTypeName(tensor.dtype))},
                                            {"shape", tensor.shape},
                                            {"data_offsets", std::vector<int64_t>{offset, end}}});
    offset = end;
  }

  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception& error) {
    return absl::InvalidArgumentError(
        StrCat("a tensor's name or the metadata is not valid UTF-8: ", error.what()));
  }
  text.append((kAlignment - text.size() % kAlignment) % kAlignment, ' ');
  if (text.size() > kSafetensorsMaxHeaderBytes) {
    return absl::InvalidArgumentError(StrCat("the header would have ", text.size(),
                                             " bytes, more than the format's limit of ",
                                             kSafetensorsMaxHeaderBytes));
  }
  const uint64_t header_bytes = text.size();
  std::string result(kSafetensorsLengthBytes, '\0');
  std::memcpy(result.data(), &header_bytes, kSafetensorsLengthBytes);
  return result.append(text);
}

absl::StatusOr<SafetensorsWriter> SafetensorsWriter::Create(
    const std::string& path, absl::Span<const TensorDeclaration> tensors,
    const std::map<std::string, std::string>& metadata) {
  const absl::StatusOr<std::string> header = MakeSafetensorsHeader(tensors, metadata);
  if (!header.ok()) {
    return absl::Status(header.status().code(), StrCat(path, ": ", header.status().message()));
  }
  uint64_t data_bytes = 0;
  for (const TensorDeclaration& tensor : tensors) data_bytes += *BytesOf(tensor);
  SHIRA_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
  SHIRA_RETURN_IF_ERROR(file.Append(*header));
  return SafetensorsWriter(std::move(file), data_bytes);
}

absl::Status SafetensorsWriter::Write(absl::Span<const std::byte> bytes) {
  if (bytes.size() > missing_bytes_) {
    return absl::InvalidArgumentError(StrCat(file_.path(), ": ", bytes.size() - missing_bytes_,
                                             " bytes more than its tensors have"));
  }
  missing_bytes_ -= bytes.size();
  return file_.Append(bytes);
}

absl::Status SafetensorsWriter::Finish() {
  if (missing_bytes_ > 0) {
    return absl::FailedPreconditionError(
        StrCat(file_.path(), ": ", missing_bytes_, " bytes of its tensors were not written"));
  }
  return file_.Commit();
}

}  // namespace shira
