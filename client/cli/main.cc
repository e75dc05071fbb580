// The command-line client of a shira server. docs/cli.md describes its use.

#include <CLI/CLI.hpp>
#include <csignal>

#include "client/cli/app.h"
#include "client/cli/exit_code.h"
#include "client/cli/session.h"

int main(int argc, char** argv) {
  // A reader that goes away shows as a failed write, so that the call under way is cancelled in an
  // orderly way.
  std::signal(SIGPIPE, SIG_IGN);

  shira::cli::Invocation invocation;
  const auto app = shira::cli::BuildApp(invocation);
  try {
    app->parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const bool is_help = app->exit(error) == 0;
    return static_cast<int>(is_help ? shira::cli::ExitCode::kOk : shira::cli::ExitCode::kUsage);
  }
  shira::cli::Session session(invocation.globals);
  return static_cast<int>(session.Finish(invocation.run(session)));
}
