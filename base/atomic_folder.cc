#include "base/atomic_folder.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/str_replace.h"
#include "base/atomic_file.h"
#include "base/strings.h"

namespace shira {
namespace {

namespace fs = std::filesystem;

absl::Status FolderError(const std::string& path) {
  return absl::ErrnoToStatus(errno, StrCat("cannot write ", path));
}

}  // namespace

AtomicFolder::AtomicFolder(std::string path, std::string staging)
    : path_(std::move(path)), staging_(std::move(staging)) {}

AtomicFolder::AtomicFolder(AtomicFolder&& other) noexcept
    : path_(std::move(other.path_)), staging_(std::exchange(other.staging_, "")) {}

AtomicFolder::~AtomicFolder() {
  std::error_code ignored;
  if (!staging_.empty()) fs::remove_all(staging_, ignored);
}

absl::StatusOr<AtomicFolder> AtomicFolder::Create(std::string path, bool replace) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  std::error_code error;
  if (fs::exists(path, error)) {
    if (!replace) return absl::AlreadyExistsError(StrCat(path, " exists"));
    if (!fs::is_directory(path, error)) {
      return absl::AlreadyExistsError(StrCat(path, " exists and is no folder"));
    }
  }
  std::string staging = TemporaryNeighbour(path);
  if (mkdir(staging.c_str(), 0777) != 0) return FolderError(path);
  return AtomicFolder(std::move(path), std::move(staging));
}

absl::Status AtomicFolder::WithPath(const absl::Status& status) const {
  return absl::Status(status.code(), absl::StrReplaceAll(status.message(), {{staging_, path_}}));
}

absl::Status AtomicFolder::Commit() {
  std::error_code error;
  if (!fs::exists(path_, error)) {
    if (rename(staging_.c_str(), path_.c_str()) != 0) return FolderError(path_);
    staging_.clear();
    SyncFolderOf(path_);
    return absl::OkStatus();
  }
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(staging_, error)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) {
    const std::string target = path_ + "/" + file.filename().string();
    if (rename(file.c_str(), target.c_str()) != 0) return FolderError(target);
  }
  SyncFolderOf(path_ + "/x");
  return absl::OkStatus();
}

}  // namespace shira
