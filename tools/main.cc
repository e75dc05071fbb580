// Works on SHiRA adapters without a server. docs/tools.md describes its use.

#include <CLI/CLI.hpp>
#include <csignal>

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
  } catch (const CLI::ParseError& error) {
    const bool is_help = app->exit(error) == 0;
    return static_cast<int>(is_help ? shira::tools::ExitCode::kOk : shira::tools::ExitCode::kUsage);
  }
  shira::tools::NoteInterrupts();
  shira::tools::Session session(invocation.globals);
  return static_cast<int>(session.Finish(invocation.run(session)));
}
