// File: tools/progress_bar.h
//
// One line on a terminal that shows how far long work has come, and the place where such work
// notices Ctrl-C.

#ifndef SHIRA_TOOLS_PROGRESS_BAR_H_
#define SHIRA_TOOLS_PROGRESS_BAR_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/terminal/live_line.h"
#include "base/terminal/output.h"

namespace shira::tools {

// Shows "Comparing  [#####.....]  52 %  3 s left  model.layers.15..." from 0.3 s after its
// construction on, and wipes it in its destructor. Writes nothing when `output` is no terminal.
// Nothing else may be written to `output` in between. Not thread-safe.
class ProgressBar {
 public:
  // `total` in any unit, at least 1.
  ProgressBar(std::string label, int64_t total, Output& output);

  // `amount` more is done, and `next` begins. CANCELLED after Ctrl-C.
  absl::Status Advance(int64_t amount, const std::string& next);

 private:
  void Draw(const std::string& next);

  const std::string label_;
  const int64_t total_;
  Output& output_;
  LiveLine line_;
  const absl::Time start_;
  absl::Time drawn_;
  int64_t done_ = 0;
};

}  // namespace shira::tools

#endif  // SHIRA_TOOLS_PROGRESS_BAR_H_
