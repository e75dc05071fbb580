#include "client/cli/app.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "client/cli/commands.h"
#include "client/cli/server_address.h"
#include "client/cli/usage_error.h"

namespace shira::cli {
namespace {

constexpr char kFooter[] =
    "Exit status: 0 ok; 1 the server answered an error; 2 wrong usage; 3 the server cannot be "
    "reached or does not serve;\n"
    "4 verify found a mismatch; 124 deadline; 130 interrupted. docs/cli.md describes every command "
    "and its JSON.\n"
    "\n"
    "Examples:\n"
    "  shira adapter load pirate /srv/adapters/pirate\n"
    "  shira generate --chat 'Where is the treasure?' --adapter pirate\n"
    "  shira help generate";

struct Group {
  absl::string_view name;
  const char* description;
};

constexpr Group kGroups[] = {
    {"adapter", "Load, unload, list and switch adapters"},
    {"alias", "Names for versions of adapters, moved and rolled back at once"},
    {"blend", "Make one adapter out of several"},
};

// As CLI11's, but commands come before the options, which all of them have.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_help(const CLI::App* app, std::string name,
                        CLI::AppFormatMode mode) const override {
    if (mode == CLI::AppFormatMode::Sub) return make_expanded(app);
    return absl::StrCat(make_description(app), make_usage(app, std::move(name)),
                        make_positionals(app), make_subcommands(app, mode), make_groups(app, mode),
                        "\n", make_footer(app));
  }
};

std::string GroupDescription(absl::string_view name) {
  for (const Group& group : kGroups) {
    if (group.name == name) return group.description;
  }
  return "";
}

constexpr char kGlobalGroup[] = "Options of every command";

void AddCredentialOptions(CLI::App& app, CredentialOptions& credentials) {
  app.add_flag("--tls", credentials.tls,
               "Use TLS, and trust the certificate authorities that the system trusts")
      ->group(kGlobalGroup);
  app.add_option("--tls-ca", credentials.tls_ca,
                 "Use TLS, and trust the certificates in this file (PEM)")
      ->type_name("FILE")
      ->group(kGlobalGroup);
  app.add_option("--tls-cert", credentials.tls_cert, "The client's own certificate chain (PEM)")
      ->type_name("FILE")
      ->group(kGlobalGroup);
  app.add_option("--tls-key", credentials.tls_key, "The client's own key (PEM)")
      ->type_name("FILE")
      ->group(kGlobalGroup);
  app.add_option("--token-file", credentials.token_file,
                 "A file with the bearer token to send [env SHIRA_TOKEN: the token]")
      ->type_name("FILE")
      ->group(kGlobalGroup);
  app.add_flag("--insecure-token", credentials.insecure_token,
               "Send the token without TLS to another machine")
      ->group(kGlobalGroup);
}

// The descriptions of the validators are emptied here and elsewhere: CLI11 would append them to the
// option's type.
//
// On every command and not only at the top, so that each --help is complete. The environment is
// read by the caller: an option of CLI11 that knows an environment variable would let it override
// the option of the same name at another level.
void AddGlobalOptions(CLI::App& app, GlobalOptions& globals) {
  app.set_help_flag("-h,--help", "Print this help and exit")->group(kGlobalGroup);
  app.add_option("--server", globals.server,
                 "Host and port of the server (50051 when not given), or another gRPC target "
                 "[env SHIRA_SERVER]")
      ->type_name("ADDR")
      ->group(kGlobalGroup)
      ->capture_default_str();
  AddCredentialOptions(app, globals.credentials);
  app.add_flag("--json", globals.json,
               "Print exactly one JSON object on standard output, also for errors")
      ->group(kGlobalGroup);
  app.add_option("--timeout", globals.timeout,
                 "Deadline of each call to the server, in seconds (default: none)")
      ->type_name("SECONDS")
      ->check(CLI::PositiveNumber.description(""))
      ->group(kGlobalGroup);
  app.add_option("--connect-timeout", globals.connect_timeout,
                 "How long to wait for a server that is not there or not serving yet")
      ->type_name("SECONDS")
      ->check(CLI::NonNegativeNumber.description(""))
      ->group(kGlobalGroup)
      ->capture_default_str();
  app.add_flag("-v,--verbose", globals.verbose,
               "Print figures on standard error even when it is no terminal")
      ->group(kGlobalGroup);
}

void AddHelpCommand(CLI::App& app, Invocation& invocation) {
  CLI::App* help = app.add_subcommand("help", "Print the help of a command");
  const auto words = std::make_shared<std::vector<std::string>>();
  help->add_option("COMMAND", *words, "The command's name; none: list them all")->type_name("");
  help->footer(
      "Examples:\n"
      "  shira help\n"
      "  shira help adapter load");
  AddGlobalOptions(*help, invocation.globals);
  help->callback([&invocation, words] { invocation.help = *words; });
}

CommandLineEnd Help(const CLI::App& app, const std::vector<std::string>& words) {
  const CLI::App* command = &app;
  for (const std::string& word : words) {
    const CLI::App* next = FindCommand(*command, word);
    if (next == nullptr) {
      return {ExitCode::kUsage, "", UsageMessage(*command, UnknownCommand(*command, word))};
    }
    command = next;
  }
  return {ExitCode::kOk, HelpOf(*command), ""};
}

// Whether the parser missed a command and nothing else.
bool LacksCommand(const CLI::App& app, const CLI::ParseError& error) {
  return dynamic_cast<const CLI::RequiredError*>(&error) != nullptr &&
         NamedCommand(app).get_require_subcommand_min() > 0 &&
         app.remaining(/*recurse=*/true).empty();
}

}  // namespace

std::unique_ptr<CLI::App> BuildApp(Invocation& invocation) {
  if (const char* server = std::getenv("SHIRA_SERVER"); server != nullptr && *server != '\0')
    invocation.globals.server = server;
  if (const char* token = std::getenv("SHIRA_TOKEN"); token != nullptr)
    invocation.globals.credentials.token = token;

  auto app = std::make_unique<CLI::App>("Command-line client of a shira server", "shira");
  const auto formatter = std::make_shared<HelpFormatter>();
  formatter->column_width(34);
  app->formatter(formatter);
  AddGlobalOptions(*app, invocation.globals);
  app->set_version_flag("--version", "shira " SHIRA_VERSION)
      ->description("Print the version and exit")
      ->group(kGlobalGroup);
  app->footer(kFooter);
  app->require_subcommand(1);

  std::map<std::string, CLI::App*> groups;
  for (const Command& command : Commands()) {
    CLI::App* parent = app.get();
    if (command.group[0] != '\0') {
      CLI::App*& group = groups[command.group];
      if (group == nullptr) {
        group = app->add_subcommand(command.group, GroupDescription(command.group));
        AddGlobalOptions(*group, invocation.globals);
        group->footer(
            absl::StrCat("Example:\n  shira ", command.group, " ", command.name, " --help"));
        group->require_subcommand(1);
      }
      parent = group;
    }
    CLI::App* subcommand = parent->add_subcommand(command.name);
    CommandRunner runner = command.setup(*subcommand);
    AddGlobalOptions(*subcommand, invocation.globals);
    subcommand->callback([&invocation, runner = std::move(runner)] { invocation.run = runner; });
  }
  AddHelpCommand(*app, invocation);
  return app;
}

std::optional<CommandLineEnd> Parse(CLI::App& app, Invocation& invocation,
                                    const std::vector<std::string>& arguments) {
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::Success& success) {  // --help, --version
    std::ostringstream out;
    app.exit(success, out, out);
    return CommandLineEnd{ExitCode::kOk, out.str(), ""};
  } catch (const CLI::ParseError& error) {
    if (LacksCommand(app, error))
      return CommandLineEnd{ExitCode::kUsage, HelpOf(NamedCommand(app)), ""};
    return CommandLineEnd{ExitCode::kUsage, "", ExplainUsage(app, error)};
  }
  if (invocation.help.has_value()) return Help(app, *invocation.help);
  GlobalOptions& globals = invocation.globals;
  absl::StatusOr<ServerAddress> address = ParseServerAddress(globals.server);
  if (!address.ok()) {
    return CommandLineEnd{
        ExitCode::kUsage, "",
        UsageMessage(app, absl::StrCat("--server: ", address.status().message()))};
  }
  globals.server = address->target;
  globals.credentials.tls = globals.credentials.tls || address->tls;
  return std::nullopt;
}

}  // namespace shira::cli
