// File: client/cli/app.h
//
// The command line as a whole: the table of commands, and the options that all of them have.
// `shira help` is known here alone, since it is about the others.

#ifndef SHIRA_CLIENT_CLI_APP_H_
#define SHIRA_CLIENT_CLI_APP_H_

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/terminal/command_line.h"
#include "client/cli/commands.h"
#include "client/cli/session.h"

namespace shira::cli {

// What a command line asked for.
struct Invocation {
  GlobalOptions globals;
  // Of the command that was named.
  CommandRunner run;
  // The words behind `help`.
  std::optional<std::vector<std::string>> help;
};

// A parser that stores into `invocation`, which has to outlive it. The options of all commands can
// stand before or behind the command's name.
std::unique_ptr<CLI::App> BuildApp(Invocation& invocation);

// ParseCommandLine() of `app`, which BuildApp() made for `invocation`; it runs `shira help` too, and
// makes a gRPC target of the server's address.
std::optional<CommandLineEnd> Parse(CLI::App& app, Invocation& invocation,
                                    const std::vector<std::string>& arguments);

}  // namespace shira::cli

#endif  // SHIRA_CLIENT_CLI_APP_H_
