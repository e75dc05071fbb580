// File: client/cli/exit_code.h
//
// Which exit status an error has; docs/cli.md says the same to users.

#ifndef SHIRA_CLIENT_CLI_EXIT_CODE_H_
#define SHIRA_CLIENT_CLI_EXIT_CODE_H_

#include "absl/status/status.h"
#include "base/terminal/exit_code.h"

namespace shira::cli {

// For the status that ended a command. `interrupted`: the user pressed Ctrl-C during the call.
ExitCode ExitCodeFor(const absl::Status& status, bool interrupted);

}  // namespace shira::cli

#endif  // SHIRA_CLIENT_CLI_EXIT_CODE_H_
