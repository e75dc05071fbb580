// File: tools/app.h
//
// The command line as a whole: the table of commands, and the options that all of them have.

#ifndef SHIRA_TOOLS_APP_H_
#define SHIRA_TOOLS_APP_H_

#include <CLI/CLI.hpp>
#include <memory>

#include "tools/commands.h"

namespace shira::tools {

// What a command line asked for.
struct Invocation {
  bool json = false;
  // Of the command that was named.
  CommandRunner run;
};

// A parser that stores into `invocation`, which has to outlive it.
std::unique_ptr<CLI::App> BuildApp(Invocation& invocation);

}  // namespace shira::tools

#endif  // SHIRA_TOOLS_APP_H_
