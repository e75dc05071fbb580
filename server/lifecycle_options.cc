#include "server/lifecycle_options.h"

#include <filesystem>
#include <system_error>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/lifecycle/state_store.h"

namespace shira {
namespace {

namespace fs = std::filesystem;

absl::Status ExpectFolderOf(std::string_view what, const std::string& path) {
  std::error_code error;
  const fs::path folder = fs::absolute(path, error).lexically_normal().parent_path();
  if (fs::is_directory(folder, error)) return absl::OkStatus();
  return absl::NotFoundError(StrCat("the folder of ", what, " ", path, " does not exist"));
}

}  // namespace

void ValidateValues(const LifecycleOptions& options, ProblemList& problems) {
  if (options.max_concurrent_loads < 1) {
    problems.Add("--max-concurrent-loads: expected at least 1, found ",
                 options.max_concurrent_loads);
  }
  if (options.keep_versions < 0) {
    problems.Add("--keep-versions: expected 0 or more, found ", options.keep_versions);
  }
  if (options.max_upload_bytes > options.upload_quota_bytes) {
    problems.Add("--max-upload-mb: is more than --upload-quota-mb");
  }
  if (options.verify_interval < absl::ZeroDuration() ||
      options.verify_interval == absl::InfiniteDuration()) {
    problems.Add("--verify-interval: expected seconds, 0 or more");
  }
}

absl::Status CheckPaths(const LifecycleOptions& options) {
  std::error_code error;
  for (const std::string& folder : options.adapter_dirs) {
    if (!fs::is_directory(folder, error)) {
      return absl::NotFoundError(StrCat("adapter folder ", folder, " does not exist"));
    }
  }
  if (!options.upload_dir.empty()) {
    SHIRA_RETURN_IF_ERROR(ExpectFolderOf("upload folder", options.upload_dir));
  }
  if (options.state_file.empty()) return absl::OkStatus();
  SHIRA_RETURN_IF_ERROR(ExpectFolderOf("state file", options.state_file));
  return ReadStateFile(options.state_file).status();
}

}  // namespace shira
