#include "base/terminal/usage_error.h"

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/closest_name.h"

namespace shira {
namespace {

const CLI::App& Root(const CLI::App& app) {
  return app.get_parent() == nullptr ? app : Root(*app.get_parent());
}

std::vector<const CLI::App*> CommandsOf(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

// Full names of all commands below `app` that are called `name` there.
void FindEverywhere(const CLI::App& app, const std::string& name, std::vector<std::string>& found) {
  for (const CLI::App* command : CommandsOf(app)) {
    if (command->get_name() == name) found.push_back(FullName(*command));
    FindEverywhere(*command, name, found);
  }
}

std::vector<std::string> NamesOf(const std::vector<const CLI::App*>& commands) {
  std::vector<std::string> names;
  for (const CLI::App* command : commands) names.push_back(command->get_name());
  return names;
}

std::string UnknownOption(const CLI::App& command, const std::string& word) {
  const std::string option = word.substr(0, word.find('='));
  std::vector<std::string> names;
  for (const CLI::Option* known : command.get_options()) {
    for (const std::string& name : known->get_lnames()) names.push_back(absl::StrCat("--", name));
    for (const std::string& name : known->get_snames()) names.push_back(absl::StrCat("-", name));
  }
  // Every short one is one letter away from every other.
  const std::optional<std::string> meant =
      option.size() > 2 ? ClosestName(option, names) : std::nullopt;
  return absl::StrCat("'", FullName(command), "' has no option ", option,
                      meant.has_value() ? absl::StrCat("; did you mean ", *meant, "?") : "");
}

}  // namespace

const CLI::App& NamedCommand(const CLI::App& app) {
  const std::vector<CLI::App*> parsed = app.get_subcommands();
  return parsed.empty() ? app : NamedCommand(*parsed.back());
}

std::string FullName(const CLI::App& app) {
  return app.get_parent() == nullptr
             ? app.get_name()
             : absl::StrCat(FullName(*app.get_parent()), " ", app.get_name());
}

const CLI::App* FindCommand(const CLI::App& app, const std::string& word) {
  for (const CLI::App* command : CommandsOf(app)) {
    if (command->get_name() == word) return command;
  }
  return nullptr;
}

std::string HelpOf(const CLI::App& app) {
  // Not app.help(), which delegates to a command that was parsed.
  return app.get_formatter()->make_help(&app, FullName(app), CLI::AppFormatMode::Normal);
}

std::string UnknownCommand(const CLI::App& app, const std::string& word) {
  std::vector<std::string> meant;
  FindEverywhere(Root(app), word, meant);
  if (meant.empty()) {
    const std::vector<const CLI::App*> commands = CommandsOf(app);
    if (const std::optional<std::string> name = ClosestName(word, NamesOf(commands))) {
      meant.push_back(absl::StrCat(FullName(app), " ", *name));
    }
  }
  for (const CLI::App* group : CommandsOf(Root(app))) {
    if (!meant.empty()) break;
    if (const std::optional<std::string> name = ClosestName(word, NamesOf(CommandsOf(*group)))) {
      meant.push_back(absl::StrCat(FullName(*group), " ", *name));
    }
  }
  std::string text = absl::StrCat("'", FullName(app), "' has no command '", word, "'");
  if (!meant.empty()) {
    absl::StrAppend(&text, "; did you mean '", absl::StrJoin(meant, "' or '"), "'?");
  }
  return text;
}

std::string ExplainUsage(const CLI::App& app, const CLI::ParseError& error) {
  if (const std::vector<std::string> unknown = app.remaining(); !unknown.empty()) {
    const std::string& word = unknown.front();
    if (absl::StartsWith(word, "-")) return UsageMessage(app, UnknownOption(app, word));
    if (!CommandsOf(app).empty()) return UsageMessage(app, UnknownCommand(app, word));
    return UsageMessage(
        app, absl::StrCat("'", FullName(app), "' takes no further argument, found '", word, "'"));
  }
  const std::vector<CLI::App*> parsed = app.get_subcommands();
  return parsed.empty() ? UsageMessage(app, error.what()) : ExplainUsage(*parsed.back(), error);
}

std::string UsageMessage(const CLI::App& app, absl::string_view what) {
  return absl::StrCat(Root(app).get_name(), ": error: ", what, "\nRun '", FullName(app),
                      " --help' for its options and examples.\n");
}

}  // namespace shira
