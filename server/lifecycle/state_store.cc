#include "server/lifecycle/state_store.h"

#include <atomic>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/atomic_file.h"
#include "base/mapped_file.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kMaxFileBytes = uint64_t{1} << 30;

}  // namespace

absl::StatusOr<std::optional<CatalogSnapshot>> ReadStateFile(const std::string& path) {
  absl::StatusOr<std::string> text = ReadFile(path, kMaxFileBytes);
  if (absl::IsNotFound(text.status())) return std::nullopt;
  SHIRA_RETURN_IF_ERROR(text.status());
  absl::StatusOr<CatalogSnapshot> snapshot = ParseSnapshot(*text);
  if (!snapshot.ok()) {
    return absl::Status(snapshot.status().code(),
                        StrCat("state file ", path, ": ", ToStd(snapshot.status().message()),
                               ". It was left as it is: repair it, or move it away to start "
                               "without any adapter"));
  }
  return *std::move(snapshot);
}

StateStore::StateStore(std::string path, WriteFile write, FileLock lock,
                       std::optional<CatalogSnapshot> opened)
    : path_(std::move(path)),
      write_(std::move(write)),
      blends_folder_(StrCat(path_, ".blends")),
      lock_(std::move(lock)),
      opened_(std::move(opened)) {}

absl::StatusOr<std::unique_ptr<StateStore>> StateStore::Open(const std::string& path,
                                                             WriteFile write) {
  std::error_code error;
  const std::string absolute = fs::absolute(path, error).native();
  SHIRA_ASSIGN_OR_RETURN(FileLock lock, FileLock::Take(StrCat(absolute, ".lock")));
  SHIRA_ASSIGN_OR_RETURN(std::optional<CatalogSnapshot> opened, ReadStateFile(absolute));
  std::unique_ptr<StateStore> store(
      new StateStore(absolute, std::move(write), std::move(lock), std::move(opened)));
  RemoveTemporaryNeighbours(absolute);
  fs::create_directory(store->blends_folder_, error);
  if (error) {
    return absl::PermissionDeniedError(
        StrCat("cannot make ", store->blends_folder_, ": ", error.message()));
  }
  return store;
}

absl::Status StateStore::Write(const CatalogSnapshot& snapshot) const {
  return write_(path_, SerializeSnapshot(snapshot));
}

std::string StateStore::NewBlendPath() const {
  static std::atomic<int> counter = 0;
  return StrCat(blends_folder_, "/", absl::StrCat(absl::Hex(absl::GetCurrentTimeNanos())), "-",
                counter++, ".shira");
}

}  // namespace shira
