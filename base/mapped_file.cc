#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace {

absl::Status FileError(std::string_view action, const std::string& path) {
  return absl::ErrnoToStatus(errno, StrCat("cannot ", action, " ", path));
}

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&&) = delete;
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }

  int get() const { return fd_; }

 private:
  int fd_;
};

struct RegularFile {
  FileDescriptor fd;
  uint64_t size;
};

absl::StatusOr<RegularFile> OpenRegularFile(const std::string& path) {
  // Without O_NONBLOCK, opening a pipe would wait for its writer before anything can refuse it.
  FileDescriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) return FileError("open", path);
  struct stat facts;
  if (fstat(fd.get(), &facts) != 0) return FileError("examine", path);
  if (!S_ISREG(facts.st_mode)) {
    return absl::InvalidArgumentError(StrCat(path, " is not a regular file"));
  }
  return RegularFile{std::move(fd), static_cast<uint64_t>(facts.st_size)};
}

}  // namespace

absl::StatusOr<MappedFile> MappedFile::Open(const std::string& path) {
  SHIRA_ASSIGN_OR_RETURN(const RegularFile file, OpenRegularFile(path));
  if (file.size == 0) return MappedFile(path, nullptr, 0);
  void* data = mmap(nullptr, file.size, PROT_READ, MAP_PRIVATE, file.fd.get(), 0);
  if (data == MAP_FAILED) return FileError("map", path);
  return MappedFile(path, static_cast<const std::byte*>(data), file.size);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_);
}

absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t max_bytes) {
  SHIRA_ASSIGN_OR_RETURN(const RegularFile file, OpenRegularFile(path));
  if (file.size > max_bytes) {
    return absl::InvalidArgumentError(
        StrCat(path, ": expected at most ", max_bytes, " bytes, found ", file.size));
  }
  std::string contents(file.size, '\0');
  size_t filled = 0;
  while (filled < contents.size()) {
    const ssize_t count = read(file.fd.get(), contents.data() + filled, contents.size() - filled);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return FileError("read", path);
    if (count == 0) break;  // the file was truncated after fstat()
    filled += static_cast<size_t>(count);
  }
  contents.resize(filled);
  return contents;
}

}  // namespace shira
