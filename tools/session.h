// File: tools/session.h
//
// What a command works with: the options that every command has, and the ways to print.

#ifndef SHIRA_TOOLS_SESSION_H_
#define SHIRA_TOOLS_SESSION_H_

#include <string>

#include "absl/status/statusor.h"
#include "client/cli/output.h"
#include "nlohmann/json.hpp"
#include "tools/exit_code.h"

namespace shira::tools {

using Json = nlohmann::ordered_json;

struct GlobalOptions {
  bool json = false;
};

// One run of the program. Not thread-safe.
class Session {
 public:
  // Standard output and standard error.
  explicit Session(const GlobalOptions& options);

  bool json() const { return options_.json; }
  cli::Output& out() { return out_; }
  cli::Output& err() { return err_; }

  // The one JSON object of --json.
  void PrintJson(const Json& json);

  // Reports the end of a command in the way that was asked for, and returns the exit status.
  ExitCode Finish(const absl::StatusOr<ExitCode>& result);

 private:
  const GlobalOptions options_;
  cli::Output out_;
  cli::Output err_;
};

}  // namespace shira::tools

#endif  // SHIRA_TOOLS_SESSION_H_
