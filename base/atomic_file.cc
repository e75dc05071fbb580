#include "base/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 18;

absl::Status FileError(std::string_view action, const std::string& path) {
  return absl::ErrnoToStatus(errno, StrCat("cannot ", action, " ", path));
}

std::string FolderOf(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

std::string TemporaryPrefix(const std::string& path) {
  return StrCat(".", std::filesystem::path(path).filename().string(), ".partial-");
}

}  // namespace

std::string TemporaryNeighbour(const std::string& path) {
  static std::atomic<int> counter = 0;
  return StrCat(FolderOf(path), "/", TemporaryPrefix(path), getpid(), "-", counter++);
}

void RemoveTemporaryNeighbours(const std::string& path) {
  const std::string prefix = TemporaryPrefix(path);
  std::error_code error;
  std::filesystem::directory_iterator it(FolderOf(path), error);
  for (const std::filesystem::directory_iterator end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    if (it->path().filename().string().starts_with(prefix)) {
      std::filesystem::remove_all(it->path(), ignored);
    }
  }
}

void SyncFolderOf(const std::string& path) {
  const int fd = open(FolderOf(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  // Some file systems refuse to sync a folder; the rename has happened then.
  fsync(fd);
  close(fd);
}

AtomicFile::AtomicFile(std::string path, std::string temporary, int fd)
    : path_(std::move(path)), temporary_(std::move(temporary)), fd_(fd) {
  buffer_.reserve(kBufferBytes);
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      fd_(std::exchange(other.fd_, -1)),
      buffer_(std::move(other.buffer_)) {}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  close(fd_);
  unlink(temporary_.c_str());
}

absl::StatusOr<AtomicFile> AtomicFile::Create(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    return absl::InvalidArgumentError(StrCat("cannot write ", path, ": it is a folder"));
  }
  std::string temporary = TemporaryNeighbour(path);
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0) return FileError("write", path);
  return AtomicFile(path, std::move(temporary), fd);
}

absl::Status AtomicFile::WriteAll(const char* data, size_t size) {
  while (size > 0) {
    const ssize_t count = write(fd_, data, size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return FileError("write", path_);
    data += count;
    size -= static_cast<size_t>(count);
  }
  return absl::OkStatus();
}

absl::Status AtomicFile::Flush() {
  SHIRA_RETURN_IF_ERROR(WriteAll(buffer_.data(), buffer_.size()));
  buffer_.clear();
  return absl::OkStatus();
}

absl::Status AtomicFile::Append(absl::Span<const std::byte> bytes) {
  return Append(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

absl::Status AtomicFile::Append(std::string_view text) {
  if (buffer_.size() + text.size() > kBufferBytes) SHIRA_RETURN_IF_ERROR(Flush());
  if (text.size() > kBufferBytes) return WriteAll(text.data(), text.size());
  buffer_.append(text);
  return absl::OkStatus();
}

absl::Status AtomicFile::Commit() {
  SHIRA_RETURN_IF_ERROR(Flush());
  if (fsync(fd_) != 0) return FileError("write", path_);
  if (rename(temporary_.c_str(), path_.c_str()) != 0) return FileError("write", path_);
  // The name is taken; what close() could still report, fsync() has reported.
  close(std::exchange(fd_, -1));
  SyncFolderOf(path_);
  return absl::OkStatus();
}

absl::Status WriteFileAtomically(const std::string& path, std::string_view text) {
  SHIRA_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
  SHIRA_RETURN_IF_ERROR(file.Append(text));
  return file.Commit();
}

}  // namespace shira
