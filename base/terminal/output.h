// File: base/terminal/output.h
//
// Where text goes: standard output and standard error, and what they are.

#ifndef SHIRA_BASE_TERMINAL_OUTPUT_H_
#define SHIRA_BASE_TERMINAL_OUTPUT_H_

#include <cstdio>
#include <string>

#include "absl/strings/string_view.h"

namespace shira {

// A stream that remembers the first failure. Not thread-safe.
class Output {
 public:
  // `file` is not owned.
  explicit Output(std::FILE* file);

  // Writes and flushes, so that streamed text is seen at once. False after any failure; then it
  // writes nothing more.
  bool Write(absl::string_view text);

  // errno of the first failure; 0 if there was none. EPIPE: the reader went away.
  int error() const { return error_; }

  bool is_terminal() const { return is_terminal_; }

  // Whether the last text written ended a line (true at the start).
  bool at_line_start() const { return at_line_start_; }

  // `text` dimmed or in red when this is a terminal that shows colours and NO_COLOR (no-color.org)
  // is not set; else as it is.
  std::string Dim(absl::string_view text) const;
  std::string Red(absl::string_view text) const;

 private:
  std::string Styled(absl::string_view code, absl::string_view text) const;

  std::FILE* const file_;
  const bool is_terminal_;
  const bool has_color_;
  int error_ = 0;
  bool at_line_start_ = true;
};

}  // namespace shira

#endif  // SHIRA_BASE_TERMINAL_OUTPUT_H_
