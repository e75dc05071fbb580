#include "adapters/format/adapter_files.h"

#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "base/mapped_file.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace fs = std::filesystem;
namespace {

// PEFT's configs are below 10 KB.
constexpr uint64_t kMaxConfigBytes = 1 << 20;

bool HasTensorFileName(const std::string& path) {
  return absl::EndsWith(path, ".shira") || absl::EndsWith(path, ".safetensors");
}

absl::StatusOr<nlohmann::json> ReadConfig(const std::string& path) {
  SHIRA_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxConfigBytes));
  nlohmann::json config = nlohmann::json::parse(text, /*cb=*/nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) {
    return absl::InvalidArgumentError(
        StrCat(path, ": expected a JSON object, found ",
               config.is_discarded() ? "malformed JSON" : config.type_name()));
  }
  return config;
}

absl::StatusOr<AdapterFiles> ReadPeftFolder(const std::string& folder, uint64_t max_file_bytes) {
  AdapterFiles files;
  files.config_path = folder + "/adapter_config.json";
  files.tensors_path = folder + "/adapter_model.safetensors";
  SHIRA_ASSIGN_OR_RETURN(files.config, ReadConfig(files.config_path));
  absl::StatusOr<std::string> tensors = ReadFile(files.tensors_path, max_file_bytes);
  std::error_code error;
  if (absl::IsNotFound(tensors.status()) && fs::exists(folder + "/adapter_model.bin", error)) {
    return absl::NotFoundError(
        StrCat(files.tensors_path,
               ": not found; adapter_model.bin is a pickle, which this program does not read: "
               "save the adapter again with save_pretrained(safe_serialization=True)"));
  }
  SHIRA_RETURN_IF_ERROR(tensors.status());
  files.tensors = *std::move(tensors);
  return files;
}

absl::StatusOr<AdapterFiles> ReadSingleFile(const std::string& path, uint64_t max_file_bytes) {
  AdapterFiles files;
  files.tensors_path = path;
  SHIRA_ASSIGN_OR_RETURN(files.tensors, ReadFile(path, max_file_bytes));
  return files;
}

// The one file in a folder without adapter_config.json that can hold an adapter.
absl::StatusOr<std::string> OnlyTensorFile(const std::string& folder) {
  std::vector<std::string> found;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string path = it->path().native();
    if (HasTensorFileName(path)) found.push_back(path);
  }
  if (error) {
    return absl::PermissionDeniedError(StrCat("cannot list ", folder, ": ", error.message()));
  }
  if (found.empty()) {
    return absl::NotFoundError(
        StrCat(folder, ": expected adapter_config.json, or a file named *.shira or *.safetensors"));
  }
  if (found.size() > 1) {
    std::sort(found.begin(), found.end());
    return absl::InvalidArgumentError(
        StrCat(folder,
               ": expected adapter_config.json, or one file named *.shira or "
               "*.safetensors, found ",
               absl::StrJoin(found, ", "), ": name the file that you mean"));
  }
  return found.front();
}

}  // namespace

absl::StatusOr<Safetensors> AdapterFiles::ParseTensors() const {
  return Safetensors::Parse({reinterpret_cast<const std::byte*>(tensors.data()), tensors.size()},
                            tensors_path);
}

absl::StatusOr<AdapterFiles> ReadAdapterFiles(const std::string& path, uint64_t max_file_bytes) {
  std::error_code error;
  if (fs::is_directory(path, error)) {
    if (fs::exists(path + "/adapter_config.json", error)) {
      return ReadPeftFolder(path, max_file_bytes);
    }
    SHIRA_ASSIGN_OR_RETURN(const std::string file, OnlyTensorFile(path));
    return ReadSingleFile(file, max_file_bytes);
  }
  if (!fs::exists(path, error)) {
    return absl::NotFoundError(
        StrCat(path, ": expected an adapter's folder or file, found nothing"));
  }
  if (!HasTensorFileName(path)) {
    return absl::InvalidArgumentError(
        StrCat(path, ": expected a folder, or a file named *.shira or *.safetensors"));
  }
  return ReadSingleFile(path, max_file_bytes);
}

}  // namespace shira
