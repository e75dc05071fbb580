// File: client/cli/exit_code.h
//
// What the CLI's exit status means; docs/cli.md says the same to users.

#ifndef SHIRA_CLIENT_CLI_EXIT_CODE_H_
#define SHIRA_CLIENT_CLI_EXIT_CODE_H_

#include "absl/status/status.h"

namespace shira::cli {

enum class ExitCode : int {
  kOk = 0,
  // The server answered an error, or output could not be written.
  kError = 1,
  kUsage = 2,
  // The server cannot be reached, or does not serve yet.
  kUnreachable = 3,
  // `verify` found weights that are not what the resident state says.
  kMismatch = 4,
  kDeadline = 124,
  kInterrupted = 130,
  // The reader of the output closed it: what a shell reports for SIGPIPE.
  kBrokenPipe = 141,
};

// For the status that ended a command. `interrupted`: the user pressed Ctrl-C during the call.
ExitCode ExitCodeFor(const absl::Status& status, bool interrupted);

}  // namespace shira::cli

#endif  // SHIRA_CLIENT_CLI_EXIT_CODE_H_
