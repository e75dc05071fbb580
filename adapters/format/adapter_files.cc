#include "adapters/format/adapter_files.h"

#include <filesystem>
#include <utility>

#include "absl/status/status.h"
#include "base/mapped_file.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace {

// PEFT's configs are below 10 KB.
constexpr uint64_t kMaxConfigBytes = 1 << 20;

}  // namespace

absl::StatusOr<AdapterFiles> ReadAdapterFiles(const std::string& path, uint64_t max_file_bytes) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    return absl::NotFoundError(StrCat(path, ": expected an adapter's folder, found ",
                                      std::filesystem::exists(path, error) ? "a file" : "nothing"));
  }
  AdapterFiles files;
  files.path = path;
  SHIRA_ASSIGN_OR_RETURN(const std::string config, ReadFile(files.config_path(), kMaxConfigBytes));
  files.config = nlohmann::json::parse(config, /*cb=*/nullptr, /*allow_exceptions=*/false);
  if (!files.config.is_object()) {
    return absl::InvalidArgumentError(
        StrCat(files.config_path(), ": expected a JSON object, found ",
               files.config.is_discarded() ? "malformed JSON" : files.config.type_name()));
  }
  absl::StatusOr<std::string> tensors = ReadFile(files.tensors_path(), max_file_bytes);
  if (absl::IsNotFound(tensors.status()) &&
      std::filesystem::exists(path + "/adapter_model.bin", error)) {
    return absl::NotFoundError(
        StrCat(files.tensors_path(),
               ": not found; adapter_model.bin is a pickle, which this program does not read: "
               "save the adapter again with save_pretrained(safe_serialization=True)"));
  }
  SHIRA_RETURN_IF_ERROR(tensors.status());
  files.tensors = *std::move(tensors);
  return files;
}

}  // namespace shira
