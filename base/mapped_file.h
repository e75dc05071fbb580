// File: base/mapped_file.h
//
// A file mapped read-only into memory. For files that belong to the server's operator (the base
// model): a mapped file that is truncated raises SIGBUS on access, so what a client can name
// is read with ReadFile() into memory of our own.

#ifndef SHIRA_BASE_MAPPED_FILE_H_
#define SHIRA_BASE_MAPPED_FILE_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace shira {

// Thread-compatible; movable. The bytes stay valid until the object is destroyed.
class MappedFile {
 public:
  // NOT_FOUND, PERMISSION_DENIED or INVALID_ARGUMENT (not a regular file), always with the path. An
  // empty file maps to no bytes.
  static absl::StatusOr<MappedFile> Open(const std::string& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  absl::Span<const std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }

 private:
  MappedFile(std::string path, const std::byte* data, size_t size)
      : path_(std::move(path)), data_(data), size_(size) {}

  std::string path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// The whole of a regular file. INVALID_ARGUMENT if it is larger than max_bytes; the errors of
// Open() otherwise.
absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t max_bytes);

}  // namespace shira

#endif  // SHIRA_BASE_MAPPED_FILE_H_
