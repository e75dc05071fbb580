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

#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
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

// How a command line ends that has nothing to be run: help, a version, wrong usage.
struct CommandLineEnd {
  ExitCode code;
  std::string out;
  std::string err;
};

// A parser that stores into `invocation`, which has to outlive it. The options of all commands can
// stand before or behind the command's name.
std::unique_ptr<CLI::App> BuildApp(Invocation& invocation);

// Has `app`, which BuildApp() made for `invocation`, parse the arguments (without the program's
// name). nullopt: run the command. On the way, the server's address becomes a gRPC target. A
// command line without a command gets the help that lists them, as wrong usage.
std::optional<CommandLineEnd> Parse(CLI::App& app, Invocation& invocation,
                                    const std::vector<std::string>& arguments);

}  // namespace shira::cli

#endif  // SHIRA_CLIENT_CLI_APP_H_
