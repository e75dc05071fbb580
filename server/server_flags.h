// File: server/server_flags.h
//
// The command line and the config file of shira-server. Every flag is also a key of the config
// file, without its dashes: "--max-tokens 100" is "max-tokens = 100". Flags win over the file; a
// key that is no flag is an error.

#ifndef SHIRA_SERVER_SERVER_FLAGS_H_
#define SHIRA_SERVER_SERVER_FLAGS_H_

#include <string>

#include "absl/status/statusor.h"
#include "server/server_options.h"

namespace shira {

// What a command line asks for.
struct CommandLine {
  enum class Action {
    kServe,
    kCheckConfig,  // look at everything that can be looked at without loading weights, and end
    kPrint,        // `text` to standard output: help, version, or the effective config
  };
  Action action = Action::kServe;
  ServerOptions options;  // ValidateValues() is OK; not set for kPrint
  std::string text;
};

// INVALID_ARGUMENT says what is wrong with a flag, a key or a value. The text of kPrint never holds
// a secret: flags name the files that hold them.
absl::StatusOr<CommandLine> ParseCommandLine(int argc, const char* const* argv);

}  // namespace shira

#endif  // SHIRA_SERVER_SERVER_FLAGS_H_
