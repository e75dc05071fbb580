// File: client/cli/hint.h
//
// What to do next about an error, for people who meet it for the first time.

#ifndef SHIRA_CLIENT_CLI_HINT_H_
#define SHIRA_CLIENT_CLI_HINT_H_

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

namespace shira::cli {

// What a hint may have to look up; called only where it is needed.
struct HintSources {
  // See adapter_names.h.
  absl::FunctionRef<std::vector<std::string>()> adapter_names;
  // The server's version; empty if it does not tell.
  absl::FunctionRef<std::string()> server_version;
};

// One sentence or two without a line end, or empty where the message says it all.
std::string HintFor(const absl::Status& status, const HintSources& sources);

}  // namespace shira::cli

#endif  // SHIRA_CLIENT_CLI_HINT_H_
