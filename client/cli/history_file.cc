#include "client/cli/history_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace shira::cli {
namespace {

namespace fs = std::filesystem;

constexpr mode_t kFileMode = 0600;
constexpr mode_t kFolderMode = 0700;
// A larger file is not one that this program has written.
constexpr off_t kMaxBytes = off_t{64} << 20;

absl::Status Error(const std::string& path) { return absl::ErrnoToStatus(errno, path); }

// The folders that are missing above a path, for this user alone.
absl::Status MakeFolders(const fs::path& folder) {
  std::error_code error;
  if (folder.empty() || fs::is_directory(folder, error)) return absl::OkStatus();
  if (absl::Status status = MakeFolders(folder.parent_path()); !status.ok()) return status;
  if (mkdir(folder.c_str(), kFolderMode) == 0 || errno == EEXIST) return absl::OkStatus();
  return Error(folder.string());
}

absl::Status WriteAll(int fd, absl::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t count = write(fd, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Error(path);
    text.remove_prefix(static_cast<size_t>(count));
  }
  return absl::OkStatus();
}

const char* Environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : nullptr;
}

}  // namespace

std::string DefaultHistoryPath() {
  if (const char* path = std::getenv("SHIRA_HISTORY"); path != nullptr) return path;
  if (const char* state = Environment("XDG_STATE_HOME"); state != nullptr && *state == '/')
    return absl::StrCat(state, "/shira/history");
  const char* home = Environment("HOME");
  return home != nullptr ? absl::StrCat(home, "/.local/state/shira/history") : "";
}

absl::StatusOr<HistoryFile> HistoryFile::Open(const std::string& path) {
  if (absl::Status status = MakeFolders(fs::path(path).parent_path()); !status.ok()) return status;
  // O_NONBLOCK: a pipe must not stop the program before it is found to be no file.
  const int fd =
      open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, kFileMode);
  if (fd < 0) return Error(path);
  HistoryFile file(fd, path);
  struct stat info = {};
  if (fstat(fd, &info) != 0) return Error(path);
  if (!S_ISREG(info.st_mode) || info.st_uid != geteuid() || info.st_size > kMaxBytes) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": expected a file of this user, of at most ", kMaxBytes, " bytes"));
  }
  if ((info.st_mode & 07777) != kFileMode && fchmod(fd, kFileMode) != 0) return Error(path);
  if (absl::Status status = file.Read(); !status.ok()) return status;
  return file;
}

HistoryFile::HistoryFile(HistoryFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      path_(std::move(other.path_)),
      lines_(std::move(other.lines_)),
      last_(std::move(other.last_)) {}

HistoryFile::~HistoryFile() {
  if (fd_ >= 0) close(fd_);
}

absl::Status HistoryFile::Read() {
  std::string text;
  std::array<char, 1 << 16> buffer;
  while (true) {
    const ssize_t count = read(fd_, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Error(path_);
    if (count == 0) break;
    text.append(buffer.data(), static_cast<size_t>(count));
  }
  lines_ = absl::StrSplit(text, '\n', absl::SkipEmpty());
  const bool too_many = lines_.size() > 2 * kMaxLines;
  if (lines_.size() > kMaxLines) lines_.erase(lines_.begin(), lines_.end() - kMaxLines);
  if (!lines_.empty()) last_ = lines_.back();
  return too_many ? Shorten() : absl::OkStatus();
}

// Another file takes the place of this one, so that a full disk loses nothing. What another chat
// writes meanwhile goes into the file that is gone: those few lines are the price.
absl::Status HistoryFile::Shorten() {
  const std::string temporary = absl::StrCat(path_, ".", getpid());
  const int fd =
      open(temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, kFileMode);
  if (fd < 0) return Error(temporary);
  absl::Status status = WriteAll(fd, absl::StrCat(absl::StrJoin(lines_, "\n"), "\n"), temporary);
  if (status.ok() && rename(temporary.c_str(), path_.c_str()) != 0) status = Error(path_);
  if (!status.ok()) {
    unlink(temporary.c_str());
    close(fd);
    return status;
  }
  close(std::exchange(fd_, fd));
  return absl::OkStatus();
}

absl::Status HistoryFile::Append(absl::string_view line) {
  if (line.empty() || line == last_) return absl::OkStatus();
  last_ = std::string(line);
  return WriteAll(fd_, absl::StrCat(line, "\n"), path_);
}

}  // namespace shira::cli
