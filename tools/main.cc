// Works on SHiRA adapters without a server. docs/tools.md describes its use.

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>

#include "client/cli/output.h"
#include "client/cli/usage_error.h"
#include "tools/app.h"
#include "tools/exit_code.h"
#include "tools/interrupt.h"
#include "tools/session.h"

int main(int argc, char** argv) {
  // Both show as failed writes, which remove what is half written.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);

  shira::tools::Invocation invocation;
  const auto app = shira::tools::BuildApp(invocation);
  try {
    app->parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    return app->exit(success);
  } catch (const CLI::ParseError& error) {
    const bool is_bare = argc == 1;
    shira::cli::Output(is_bare ? stdout : stderr)
        .Write(is_bare ? shira::cli::HelpOf(*app) : shira::cli::ExplainUsage(*app, error));
    return static_cast<int>(shira::tools::ExitCode::kUsage);
  }
  shira::tools::NoteInterrupts();
  shira::tools::Session session(invocation.globals);
  return static_cast<int>(session.Finish(invocation.run(session)));
}
