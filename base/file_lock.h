// File: base/file_lock.h
//
// Keeps a second program away from files that belong to one.
//
//   SHIRA_ASSIGN_OR_RETURN(const FileLock lock, FileLock::Take(folder + "/.lock"));

#ifndef SHIRA_BASE_FILE_LOCK_H_
#define SHIRA_BASE_FILE_LOCK_H_

#include <string>

#include "absl/status/statusor.h"

namespace shira {

// Thread-compatible; movable. The system releases the lock when the program ends, however it
// does.
class FileLock {
 public:
  // Makes the file `path` if it is not there, and locks it. FAILED_PRECONDITION if another program,
  // or another object of this one, has it locked; errors of the file system name the path.
  static absl::StatusOr<FileLock> Take(const std::string& path);

  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&&) = delete;
  // Releases the lock. The file stays: a process that is waiting for the lock must find the same
  // file.
  ~FileLock();

 private:
  explicit FileLock(int fd) : fd_(fd) {}

  int fd_ = -1;  // -1 when moved from
};

}  // namespace shira

#endif  // SHIRA_BASE_FILE_LOCK_H_
