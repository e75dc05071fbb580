// File: base/atomic_folder.h
//
// Several files that appear together: they are written in a hidden neighbour of the folder, which
// then takes its name.
//
//   SHIRA_ASSIGN_OR_RETURN(AtomicFolder folder, AtomicFolder::Create(path, /*replace=*/false));
//   SHIRA_RETURN_IF_ERROR(WriteThings(folder.staging()));
//   return folder.Commit();

#ifndef SHIRA_BASE_ATOMIC_FOLDER_H_
#define SHIRA_BASE_ATOMIC_FOLDER_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace shira {

// Thread-compatible; movable. Errors have the path.
class AtomicFolder {
 public:
  // ALREADY_EXISTS if something is at `path`, unless `replace` is set and it is a folder. A slash
  // at the end of `path` means nothing.
  static absl::StatusOr<AtomicFolder> Create(std::string path, bool replace);

  AtomicFolder(AtomicFolder&& other) noexcept;
  AtomicFolder& operator=(AtomicFolder&&) = delete;
  // Removes what was written unless Commit() returned OK.
  ~AtomicFolder();

  // Where to write the files.
  const std::string& staging() const { return staging_; }
  const std::string& path() const { return path_; }

  // An error about a file in staging(), told as one about the file that it would have become.
  absl::Status WithPath(const absl::Status& status) const;

  // Gives the folder its name. Where a folder is to be replaced, its other files stay and each file
  // takes its place alone, in the order of names; files are whole at every moment even then.
  // REQUIRES: called at most once.
  absl::Status Commit();

 private:
  AtomicFolder(std::string path, std::string staging);

  std::string path_;
  std::string staging_;  // empty when moved from or committed
};

}  // namespace shira

#endif  // SHIRA_BASE_ATOMIC_FOLDER_H_
