// File: tools/commands.h
//
// The commands of shira-adapter. A new one is a file of its own, a line here and a line in the
// table of commands.cc.

#ifndef SHIRA_TOOLS_COMMANDS_H_
#define SHIRA_TOOLS_COMMANDS_H_

#include <CLI/CLI.hpp>

#include "absl/types/span.h"
#include "base/terminal/command_line.h"
#include "tools/session.h"

namespace shira::tools {

using CommandRunner = RunCommand<Session>;
using Command = CommandOf<Session>;

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
