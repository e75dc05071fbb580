// File: server/lifecycle/state_store.h
//
// The file that the catalog's snapshot is kept in, and the folder beside it (PATH.blends) with the
// blends that are in no other file.

#ifndef SHIRA_SERVER_LIFECYCLE_STATE_STORE_H_
#define SHIRA_SERVER_LIFECYCLE_STATE_STORE_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "base/file_lock.h"
#include "server/catalog/catalog_snapshot.h"

namespace shira {

// What the file at `path` holds; nullopt if nothing is there. Errors of ParseSnapshot(), with the
// path.
absl::StatusOr<std::optional<CatalogSnapshot>> ReadStateFile(const std::string& path);

// Thread-compatible.
class StateStore {
 public:
  // Puts text into a file, in the place of what is there. WriteFileAtomically(), but for tests.
  using WriteFile = std::function<absl::Status(const std::string& path, std::string_view text)>;

  // Locks the file against other servers, reads it, and removes what a killed server left half
  // written beside it. Errors of FileLock and ReadStateFile(); nothing is written then but the
  // lock.
  static absl::StatusOr<std::unique_ptr<StateStore>> Open(const std::string& path, WriteFile write);

  // What the file held when it was opened; nullopt if it was not there.
  const std::optional<CatalogSnapshot>& opened() const { return opened_; }

  // Replaces the snapshot on the disk atomically: a reader of the file, also
  // after a crash, finds the old or the new one. Errors of WriteFile.
  absl::Status Write(const CatalogSnapshot& snapshot) const;

  // Where blends are kept. It exists.
  const std::string& blends_folder() const { return blends_folder_; }
  // A path in it that is not in use.
  std::string NewBlendPath() const;

 private:
  StateStore(std::string path, WriteFile write, FileLock lock,
             std::optional<CatalogSnapshot> opened);

  const std::string path_;
  const WriteFile write_;
  const std::string blends_folder_;
  const FileLock lock_;
  const std::optional<CatalogSnapshot> opened_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_LIFECYCLE_STATE_STORE_H_
