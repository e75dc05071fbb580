// File: base/atomic_file.h
//
// Writes a file that appears whole or not at all: the bytes go to a temporary neighbour
// (".NAME.partial-..."), which takes the file's place when everything is on the disk.
//
//   SHIRA_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
//   SHIRA_RETURN_IF_ERROR(file.Append(bytes));
//   return file.Commit();

#ifndef SHIRA_BASE_ATOMIC_FILE_H_
#define SHIRA_BASE_ATOMIC_FILE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace shira {

// Thread-compatible; movable. Every error has the path, and the code that absl gives to errno (a
// full disk is RESOURCE_EXHAUSTED). A program that runs under a limit on file sizes has to ignore
// SIGXFSZ to get an error instead of its end.
class AtomicFile {
 public:
  // Creates the temporary neighbour, so that a folder that does not exist or can't be written is
  // reported before any work is done. What is at `path` stays until Commit(), which replaces it.
  static absl::StatusOr<AtomicFile> Create(const std::string& path);

  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  // Removes the temporary neighbour unless Commit() returned OK.
  ~AtomicFile();

  // Buffered. After an error the file can only be destroyed.
  absl::Status Append(absl::Span<const std::byte> bytes);
  absl::Status Append(std::string_view text);

  // Puts everything on the disk, then under its name. REQUIRES: called at most once.
  absl::Status Commit();

  const std::string& path() const { return path_; }

 private:
  AtomicFile(std::string path, std::string temporary, int fd);
  absl::Status Flush();
  absl::Status WriteAll(const char* data, size_t size);

  std::string path_;
  std::string temporary_;
  int fd_ = -1;  // -1 when moved from, committed or given up
  std::string buffer_;
};

// All of it at once: Create(), Append() and Commit().
absl::Status WriteFileAtomically(const std::string& path, std::string_view text);

// A hidden name in the same folder, unique to this call.
std::string TemporaryNeighbour(const std::string& path);

// Removes the temporary neighbours of `path` that a program has left which was killed. REQUIRES: no
// program writes `path`.
void RemoveTemporaryNeighbours(const std::string& path);

// Makes renames in the folder of `path` durable, where the file system can.
void SyncFolderOf(const std::string& path);

}  // namespace shira

#endif  // SHIRA_BASE_ATOMIC_FILE_H_
