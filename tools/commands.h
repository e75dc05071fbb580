// File: tools/commands.h
//
// The commands of shira-adapter. A new one is a file of its own, a line here and a line in the
// table of commands.cc.

#ifndef SHIRA_TOOLS_COMMANDS_H_
#define SHIRA_TOOLS_COMMANDS_H_

#include <CLI/CLI.hpp>
#include <functional>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "tools/exit_code.h"
#include "tools/session.h"

namespace shira::tools {

// Does what a command is for. Prints its result on success; an error is returned and printed by the
// caller.
using CommandRunner = std::function<absl::StatusOr<ExitCode>(Session&)>;

// Gives `app` its description, options and examples, and returns what to run once they are parsed.
using CommandSetup = CommandRunner (*)(CLI::App& app);

struct Command {
  const char* name;
  CommandSetup setup;
};

// In the order in which --help shows them.
absl::Span<const Command> Commands();

CommandRunner SetUpInspect(CLI::App& app);
CommandRunner SetUpConvert(CLI::App& app);
CommandRunner SetUpExtract(CLI::App& app);
CommandRunner SetUpFromLora(CLI::App& app);
CommandRunner SetUpDiff(CLI::App& app);
CommandRunner SetUpVerify(CLI::App& app);

}  // namespace shira::tools

#endif  // SHIRA_TOOLS_COMMANDS_H_
