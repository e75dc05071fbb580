// File: client/cli/commands.h
//
// The commands. A new one is a file of its own, a line here and a line in the table of commands.cc.

#ifndef SHIRA_CLIENT_CLI_COMMANDS_H_
#define SHIRA_CLIENT_CLI_COMMANDS_H_

#include <CLI/CLI.hpp>

#include "absl/types/span.h"
#include "base/terminal/command_line.h"
#include "client/cli/session.h"

namespace shira::cli {

using CommandRunner = RunCommand<Session>;
// Groups are described in app.cc.
using Command = CommandOf<Session>;

// In the order in which --help shows them.
absl::Span<const Command> Commands();

CommandRunner SetUpGenerate(CLI::App& app);
CommandRunner SetUpChat(CLI::App& app);
CommandRunner SetUpTokenize(CLI::App& app);
CommandRunner SetUpDetokenize(CLI::App& app);
CommandRunner SetUpUpload(CLI::App& app);
CommandRunner SetUpAdapterLoad(CLI::App& app);
CommandRunner SetUpAdapterUnload(CLI::App& app);
CommandRunner SetUpAdapterList(CLI::App& app);
CommandRunner SetUpAdapterShow(CLI::App& app);
CommandRunner SetUpAdapterApply(CLI::App& app);
CommandRunner SetUpAdapterRevert(CLI::App& app);
CommandRunner SetUpAdapterPin(CLI::App& app);
CommandRunner SetUpAdapterUnpin(CLI::App& app);
CommandRunner SetUpAliasSet(CLI::App& app);
CommandRunner SetUpAliasRollback(CLI::App& app);
CommandRunner SetUpAliasDelete(CLI::App& app);
CommandRunner SetUpAliasList(CLI::App& app);
CommandRunner SetUpBlendCreate(CLI::App& app);
CommandRunner SetUpVerify(CLI::App& app);
CommandRunner SetUpStatus(CLI::App& app);
CommandRunner SetUpTop(CLI::App& app);
CommandRunner SetUpModel(CLI::App& app);

}  // namespace shira::cli

#endif  // SHIRA_CLIENT_CLI_COMMANDS_H_
