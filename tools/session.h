// File: tools/session.h
//
// What a command works with: the ways to print.

#ifndef SHIRA_TOOLS_SESSION_H_
#define SHIRA_TOOLS_SESSION_H_

#include "absl/status/status.h"
#include "base/terminal/terminal_session.h"
#include "nlohmann/json.hpp"

namespace shira::tools {

using Json = nlohmann::ordered_json;

// One run of the program. Not thread-safe.
class Session final : public TerminalSession {
 public:
  // `json`: whether --json was given.
  explicit Session(bool json) : TerminalSession("shira-adapter", json) {}

 private:
  ExitCode ReportError(const absl::Status& error) override;
};

}  // namespace shira::tools

#endif  // SHIRA_TOOLS_SESSION_H_
