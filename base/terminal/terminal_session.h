// File: base/terminal/terminal_session.h
//
// One run of a command: where it prints, and how its end is reported.

#ifndef SHIRA_BASE_TERMINAL_TERMINAL_SESSION_H_
#define SHIRA_BASE_TERMINAL_TERMINAL_SESSION_H_

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/terminal/exit_code.h"
#include "base/terminal/output.h"

namespace shira {

// One line; bytes that are not UTF-8 become U+FFFD. Keys stay in the order in which they are
// written.
std::string Dump(const nlohmann::ordered_json& json);

// A program derives from it to say how errors are reported. Not thread-safe.
class TerminalSession {
 public:
  virtual ~TerminalSession() = default;
  TerminalSession(const TerminalSession&) = delete;
  TerminalSession& operator=(const TerminalSession&) = delete;

  // Whether --json was given.
  bool json() const { return json_; }
  Output& out() { return out_; }
  Output& err() { return err_; }

  // The one JSON object of --json.
  void PrintJson(const nlohmann::ordered_json& json) { out_.Write(Dump(json) + "\n"); }

  // Reports the end of a command in the way that was asked for, and returns the exit status.
  ExitCode Finish(const absl::StatusOr<ExitCode>& result);

 protected:
  // Prints to standard output and standard error. `program`: the name that messages begin with.
  TerminalSession(std::string program, bool json);

  // "shira: error: NOT_FOUND: no such adapter", with "error:" in red, without a line end.
  std::string ErrorLine(const absl::Status& error) const;

 private:
  // Prints an error that ended a command, and returns the exit status that it stands for.
  virtual ExitCode ReportError(const absl::Status& error) = 0;

  const std::string program_;
  const bool json_;
  Output out_;
  Output err_;
};

}  // namespace shira

#endif  // SHIRA_BASE_TERMINAL_TERMINAL_SESSION_H_
