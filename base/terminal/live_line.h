// File: base/terminal/live_line.h
//
// The last line of a terminal, written again and again while something takes long.

#ifndef SHIRA_BASE_TERMINAL_LIVE_LINE_H_
#define SHIRA_BASE_TERMINAL_LIVE_LINE_H_

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/terminal/output.h"

namespace shira {

// Wiped when it ends. Nothing else may be written to `output` in between. Not thread-safe.
class LiveLine {
 public:
  // What takes less than this is not worth a line.
  static constexpr absl::Duration kDelay = absl::Milliseconds(300);
  // Between two texts.
  static constexpr absl::Duration kFrame = absl::Milliseconds(100);

  // REQUIRES: `output` outlives it; if it is no terminal, Show() is not called.
  explicit LiveLine(Output& output) : output_(output) {}
  ~LiveLine();
  LiveLine(const LiveLine&) = delete;
  LiveLine& operator=(const LiveLine&) = delete;

  // Replaces the text.
  void Show(absl::string_view text);

 private:
  Output& output_;
  bool visible_ = false;
};

}  // namespace shira

#endif  // SHIRA_BASE_TERMINAL_LIVE_LINE_H_
