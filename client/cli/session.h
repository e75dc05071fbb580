// File: client/cli/session.h
//
// What a command works with: the options that every command has, the connection, and the ways to
// print and to wait.

#ifndef SHIRA_CLIENT_CLI_SESSION_H_
#define SHIRA_CLIENT_CLI_SESSION_H_

#include <optional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/terminal/terminal_session.h"
#include "client/cli/credentials.h"
#include "client/cli/json_output.h"
#include "client/client.h"

namespace shira::cli {

struct GlobalOptions {
  std::string server = "127.0.0.1:50051";
  CredentialOptions credentials;
  bool json = false;
  bool verbose = false;
  // Seconds per call; absent: no deadline.
  std::optional<double> timeout;
  // Seconds to wait for a server that cannot be reached or does not serve yet.
  double connect_timeout = 5;
};

// One run of the program. Not thread-safe.
class Session final : public TerminalSession {
 public:
  // Standard output and standard error.
  explicit Session(const GlobalOptions& options);

  // Connects and waits until the server serves (or only answers, if that is enough), showing
  // progress. REQUIRES: called once, before the calls. From here on Ctrl-C cancels calls and does
  // not end the program.
  absl::Status Connect(bool reachable_is_enough = false);

  // REQUIRES: Connect() returned OK.
  const Client& client() const { return *client_; }

  // Runs one call with the options that it has to use: the deadline of --timeout, and Ctrl-C, which
  // ends it with CANCELLED. While it runs, `waiting` is shown on a terminal ("" for nothing).
  // Returns what `call` returned, a Status or StatusOr.
  template <typename Call>
  auto Run(absl::string_view waiting, Call&& call);

  // Whether Ctrl-C was pressed during the last Run() or Connect().
  bool interrupted() const { return interrupted_; }

  bool verbose() const { return options_.verbose; }

  // "shira: error: NOT_FOUND: ..." on standard error, with the reason and when to try again, and
  // below it what to do next, where that is known (hint.h).
  void PrintError(const absl::Status& status);

 private:
  ExitCode ReportError(const absl::Status& error) override;
  std::string Hint(const absl::Status& status);
  void RunCancellable(absl::string_view waiting, absl::FunctionRef<void(const CallOptions&)> call);

  const GlobalOptions options_;
  std::optional<Client> client_;
  bool interrupted_ = false;
};

template <typename Call>
auto Session::Run(absl::string_view waiting, Call&& call) {
  std::optional<decltype(call(CallOptions()))> result;
  RunCancellable(waiting, [&](const CallOptions& options) { result.emplace(call(options)); });
  return *std::move(result);
}

}  // namespace shira::cli

#endif  // SHIRA_CLIENT_CLI_SESSION_H_
