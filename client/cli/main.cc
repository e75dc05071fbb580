// The command-line client of a shira server. docs/cli.md describes its use.

#include <grpc/support/log.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "client/cli/app.h"
#include "client/cli/exit_code.h"
#include "client/cli/output.h"
#include "client/cli/session.h"

int main(int argc, char** argv) {
  // A reader that goes away shows as a failed write, so that the call under way is cancelled in an
  // orderly way.
  std::signal(SIGPIPE, SIG_IGN);
  // What gRPC has to say of a connection is in the error; its own lines are for who asks for them.
  if (std::getenv("GRPC_VERBOSITY") == nullptr) {
    gpr_set_log_function([](gpr_log_func_args* /*args*/) {});
  }

  shira::cli::Invocation invocation;
  const auto app = shira::cli::BuildApp(invocation);
  const auto end = shira::cli::Parse(*app, invocation, {argv + 1, argv + argc});
  if (end.has_value()) {
    shira::cli::Output(stderr).Write(end->err);
    const bool written = shira::cli::Output(stdout).Write(end->out);
    return static_cast<int>(written ? end->code : shira::cli::ExitCode::kError);
  }
  shira::cli::Session session(invocation.globals);
  return static_cast<int>(session.Finish(invocation.run(session)));
}
