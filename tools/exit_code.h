// File: tools/exit_code.h
//
// What the exit status of shira-adapter means, the same as the client's where both have it;
// docs/tools.md says it to users.

#ifndef SHIRA_TOOLS_EXIT_CODE_H_
#define SHIRA_TOOLS_EXIT_CODE_H_

namespace shira::tools {

enum class ExitCode : int {
  kOk = 0,
  kError = 1,
  kUsage = 2,
  // `verify`: the adapter does not fit the model.
  kMismatch = 4,
  kInterrupted = 130,
  // The reader of the output closed it: what a shell reports for SIGPIPE.
  kBrokenPipe = 141,
};

}  // namespace shira::tools

#endif  // SHIRA_TOOLS_EXIT_CODE_H_
