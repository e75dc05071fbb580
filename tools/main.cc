// Works on SHiRA adapters without a server. docs/tools.md describes its use.

#include <csignal>

#include "base/terminal/command_line.h"
#include "tools/app.h"
#include "tools/interrupt.h"
#include "tools/session.h"

int main(int argc, char** argv) {
  // Both show as failed writes, which remove what is half written.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);

  shira::tools::Invocation invocation;
  const auto app = shira::tools::BuildApp(invocation);
  if (const auto end = shira::ParseCommandLine(*app, {argv + 1, argv + argc}); end.has_value())
    return static_cast<int>(shira::PrintEnd(*end));
  shira::tools::NoteInterrupts();
  shira::tools::Session session(invocation.json);
  return static_cast<int>(session.Finish(invocation.run(session)));
}
