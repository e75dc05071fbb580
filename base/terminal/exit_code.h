// File: base/terminal/exit_code.h
//
// What the exit status of a command-line program means, the same in all of them. docs/cli.md and
// docs/tools.md say to users which of them each program has.

#ifndef SHIRA_BASE_TERMINAL_EXIT_CODE_H_
#define SHIRA_BASE_TERMINAL_EXIT_CODE_H_

namespace shira {

enum class ExitCode : int {
  kOk = 0,
  // The command failed, the server answered an error, or output could not be written.
  kError = 1,
  kUsage = 2,
  // The server cannot be reached, or does not serve yet.
  kUnreachable = 3,
  // `verify` found weights that are not what the resident state says, or an adapter that does not
  // fit the model.
  kMismatch = 4,
  kDeadline = 124,
  kInterrupted = 130,
  // The reader of the output closed it: what a shell reports for SIGPIPE.
  kBrokenPipe = 141,
};

}  // namespace shira

#endif  // SHIRA_BASE_TERMINAL_EXIT_CODE_H_
