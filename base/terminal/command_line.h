// File: base/terminal/command_line.h
//
// The command line of a program with commands: their table, the options that all of them have, and
// how a command line ends that runs none of them.

#ifndef SHIRA_BASE_TERMINAL_COMMAND_LINE_H_
#define SHIRA_BASE_TERMINAL_COMMAND_LINE_H_

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/terminal/exit_code.h"

namespace shira {

// Does what a command is for. Prints its result on success; an error is returned and printed by the
// caller.
template <typename Session>
using RunCommand = std::function<absl::StatusOr<ExitCode>(Session&)>;

template <typename Session>
struct CommandOf {
  // "adapter" for `shira adapter load`; empty for commands of the first level.
  const char* group;
  const char* name;
  // Gives `app` its description, options and examples, and returns what to run once they are
  // parsed, while `app` lives.
  RunCommand<Session> (*setup)(CLI::App& app);
};

struct CommandGroup {
  const char* name;
  const char* description;
};

// What does not differ from command to command.
struct Program {
  const char* name;
  const char* version;
  const char* description;
  const char* footer;
  absl::Span<const CommandGroup> groups;
  std::shared_ptr<CLI::FormatterBase> formatter;
  // Adds the options of all commands. Called for the program, each group and each command, so that
  // each --help is complete.
  std::function<void(CLI::App&)> add_options;
};

// The heading in --help of the options of all commands.
inline constexpr char kCommonOptions[] = "Options of every command";

// The two that every program has, for Program::add_options.
void AddHelpOption(CLI::App& app);
void AddJsonOption(CLI::App& app, bool& json);

// A parser without commands yet, but with --version.
std::unique_ptr<CLI::App> NewParser(const Program& program);

// An empty command in the group, which is made if this is its first command.
CLI::App& AddCommand(CLI::App& parser, const Program& program, const std::string& group,
                     const std::string& name);

// Adds a table of commands, which --help shows in its order. The one that a command line names is
// stored into `run`, which has to outlive the parser.
template <typename Session>
void AddCommands(CLI::App& parser, const Program& program,
                 absl::Span<const CommandOf<Session>> commands, RunCommand<Session>& run) {
  for (const CommandOf<Session>& command : commands) {
    CLI::App& app = AddCommand(parser, program, command.group, command.name);
    RunCommand<Session> runner = command.setup(app);
    program.add_options(app);
    app.callback([&run, runner = std::move(runner)] { run = runner; });
  }
}

// How a command line ends that runs no command: help, a version, wrong usage.
struct CommandLineEnd {
  ExitCode code;
  std::string out;
  std::string err;
};

// Has the parser read the arguments (without the program's name). nullopt: run the command. A
// command line without a command gets the help that lists them, as wrong usage.
std::optional<CommandLineEnd> ParseCommandLine(CLI::App& parser,
                                               const std::vector<std::string>& arguments);

// Prints it and returns the exit status, which is kError if standard output cannot be written.
ExitCode PrintEnd(const CommandLineEnd& end);

}  // namespace shira

#endif  // SHIRA_BASE_TERMINAL_COMMAND_LINE_H_
