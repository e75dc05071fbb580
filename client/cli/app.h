// File: client/cli/app.h
//
// The command line as a whole: the table of commands, and the options that all of them have.

#ifndef SHIRA_CLIENT_CLI_APP_H_
#define SHIRA_CLIENT_CLI_APP_H_

#include <CLI/CLI.hpp>
#include <memory>

#include "client/cli/commands.h"
#include "client/cli/session.h"

namespace shira::cli {

// What a command line asked for.
struct Invocation {
  GlobalOptions globals;
  // Of the command that was named.
  CommandRunner run;
};

// A parser that stores into `invocation`, which has to outlive it. The options of all commands can
// stand before or behind the command's name.
std::unique_ptr<CLI::App> BuildApp(Invocation& invocation);

}  // namespace shira::cli

#endif  // SHIRA_CLIENT_CLI_APP_H_
