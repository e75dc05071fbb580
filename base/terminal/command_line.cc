#include "base/terminal/command_line.h"

#include <algorithm>
#include <cstdio>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "base/terminal/output.h"
#include "base/terminal/usage_error.h"

namespace shira {
namespace {

// Of the options in --help, in characters.
constexpr size_t kOptionColumn = 34;

CLI::App& GroupOf(CLI::App& parser, const Program& program, const std::string& name,
                  const std::string& first_command) {
  if (FindCommand(parser, name) != nullptr) return *parser.get_subcommand(name);
  const auto group =
      std::find_if(program.groups.begin(), program.groups.end(),
                   [&](const CommandGroup& candidate) { return candidate.name == name; });
  CLI::App* app =
      parser.add_subcommand(name, group == program.groups.end() ? "" : group->description);
  program.add_options(*app);
  app->footer(absl::StrCat("Example:\n  ", program.name, " ", name, " ", first_command, " --help"));
  app->require_subcommand(1);
  return *app;
}

// Whether the parser missed a command and nothing else.
bool LacksCommand(const CLI::App& parser, const CLI::ParseError& error) {
  return dynamic_cast<const CLI::RequiredError*>(&error) != nullptr &&
         NamedCommand(parser).get_require_subcommand_min() > 0 &&
         parser.remaining(/*recurse=*/true).empty();
}

}  // namespace

void AddHelpOption(CLI::App& app) {
  app.set_help_flag("-h,--help", "Print this help and exit")->group(kCommonOptions);
}

void AddJsonOption(CLI::App& app, bool& json) {
  app.add_flag("--json", json, "Print exactly one JSON object on standard output, also for errors")
      ->group(kCommonOptions);
}

std::unique_ptr<CLI::App> NewParser(const Program& program) {
  auto parser = std::make_unique<CLI::App>(program.description, program.name);
  parser->formatter(program.formatter);
  parser->get_formatter()->column_width(kOptionColumn);
  program.add_options(*parser);
  parser->set_version_flag("--version", absl::StrCat(program.name, " ", program.version))
      ->description("Print the version and exit")
      ->group(kCommonOptions);
  parser->footer(program.footer);
  parser->require_subcommand(1);
  return parser;
}

CLI::App& AddCommand(CLI::App& parser, const Program& program, const std::string& group,
                     const std::string& name) {
  CLI::App& parent = group.empty() ? parser : GroupOf(parser, program, group, name);
  return *parent.add_subcommand(name);
}

std::optional<CommandLineEnd> ParseCommandLine(CLI::App& parser,
                                               const std::vector<std::string>& arguments) {
  try {
    parser.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::Success& success) {  // --help, --version
    std::ostringstream out;
    parser.exit(success, out, out);
    return CommandLineEnd{ExitCode::kOk, out.str(), ""};
  } catch (const CLI::ParseError& error) {
    if (LacksCommand(parser, error))
      return CommandLineEnd{ExitCode::kUsage, HelpOf(NamedCommand(parser)), ""};
    return CommandLineEnd{ExitCode::kUsage, "", ExplainUsage(parser, error)};
  }
  return std::nullopt;
}

ExitCode PrintEnd(const CommandLineEnd& end) {
  Output(stderr).Write(end.err);
  return Output(stdout).Write(end.out) ? end.code : ExitCode::kError;
}

}  // namespace shira
