// File: client/cli/progress.h
//
// One line on a terminal that shows what the program waits for, and for how long.

#ifndef SHIRA_CLIENT_CLI_PROGRESS_H_
#define SHIRA_CLIENT_CLI_PROGRESS_H_

#include <string>
#include <thread>

#include "absl/synchronization/notification.h"
#include "base/terminal/output.h"

namespace shira::cli {

// Shows "⠹ Loading pirate… 3 s" from 0.3 s after its construction on, and wipes it in its
// destructor. Writes nothing when `output` is no terminal or the text is empty. Nothing else may be
// written to `output` in between.
class Progress {
 public:
  Progress(std::string text, Output& output);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

 private:
  void Run();

  const std::string text_;
  Output& output_;
  absl::Notification done_;
  std::thread thread_;
};

}  // namespace shira::cli

#endif  // SHIRA_CLIENT_CLI_PROGRESS_H_
