// File: client/cli/history_file.h
//
// The lines that were typed in chats, kept in a file that only its user can read.

#ifndef SHIRA_CLIENT_CLI_HISTORY_FILE_H_
#define SHIRA_CLIENT_CLI_HISTORY_FILE_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace shira::cli {

// Where the environment puts it: SHIRA_HISTORY (empty: nowhere), else shira/history in
// XDG_STATE_HOME, which is ~/.local/state unless an absolute path is given. Empty: nowhere.
std::string DefaultHistoryPath();

// A line each, appended whole, so that programs that run at a time lose nothing of each other.
// Only its owner can read the file (mode 0600), and the folder if it is made here (0700).
// Movable; not thread-safe.
class HistoryFile {
 public:
  // Lines that are kept; older ones go when the file is opened and holds twice as many.
  static constexpr size_t kMaxLines = 1000;

  // Makes the file, and the folders that are missing. An error if the path is no plain file of this
  // user, or is not readable and writable.
  static absl::StatusOr<HistoryFile> Open(const std::string& path);
  HistoryFile(HistoryFile&& other) noexcept;
  HistoryFile& operator=(HistoryFile&&) = delete;
  ~HistoryFile();

  // The last kMaxLines at the time of Open(), the oldest first.
  const std::vector<std::string>& lines() const { return lines_; }

  // `line` has no line end; an empty one, or one like the last, is left out.
  absl::Status Append(absl::string_view line);

 private:
  HistoryFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}

  absl::Status Read();
  absl::Status Shorten();

  int fd_;
  std::string path_;
  std::vector<std::string> lines_;
  std::string last_;
};

}  // namespace shira::cli

#endif  // SHIRA_CLIENT_CLI_HISTORY_FILE_H_
