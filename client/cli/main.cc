// The command-line client of a shira server. docs/cli.md describes its use.

#include <grpc/support/log.h>

#include <csignal>
#include <cstdlib>

#include "base/terminal/command_line.h"
#include "client/cli/app.h"
#include "client/cli/session.h"

int main(int argc, char** argv) {
  // A reader that goes away shows as a failed write, so that the call under way is cancelled in an
  // orderly way.
  std::signal(SIGPIPE, SIG_IGN);
  // Errors say what gRPC knows of a connection; its own log lines are off unless requested.
  if (std::getenv("GRPC_VERBOSITY") == nullptr) {
    gpr_set_log_function([](gpr_log_func_args* /*args*/) {});
  }

  shira::cli::Invocation invocation;
  const auto app = shira::cli::BuildApp(invocation);
  const auto end = shira::cli::Parse(*app, invocation, {argv + 1, argv + argc});
  if (end.has_value()) return static_cast<int>(shira::PrintEnd(*end));
  shira::cli::Session session(invocation.globals);
  return static_cast<int>(session.Finish(invocation.run(session)));
}
