#include "client/cli/app.h"

#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "base/terminal/usage_error.h"
#include "client/cli/commands.h"
#include "client/cli/server_address.h"

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

constexpr CommandGroup kGroups[] = {
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

void AddCredentialOptions(CLI::App& app, CredentialOptions& credentials) {
  app.add_flag("--tls", credentials.tls,
               "Use TLS, and trust the certificate authorities that the system trusts")
      ->group(kCommonOptions);
  app.add_option("--tls-ca", credentials.tls_ca,
                 "Use TLS, and trust the certificates in this file (PEM)")
      ->type_name("FILE")
      ->group(kCommonOptions);
  app.add_option("--tls-cert", credentials.tls_cert, "The client's own certificate chain (PEM)")
      ->type_name("FILE")
      ->group(kCommonOptions);
  app.add_option("--tls-key", credentials.tls_key, "The client's own key (PEM)")
      ->type_name("FILE")
      ->group(kCommonOptions);
  app.add_option("--token-file", credentials.token_file,
                 "A file with the bearer token to send [env SHIRA_TOKEN: the token]")
      ->type_name("FILE")
      ->group(kCommonOptions);
  app.add_flag("--insecure-token", credentials.insecure_token,
               "Send the token without TLS to another machine")
      ->group(kCommonOptions);
}

// The descriptions of the validators are emptied here and elsewhere: CLI11 would append them to the
// option's type.
//
// The environment is read by the caller: an option of CLI11 that knows an environment variable would
// let it override the option of the same name at another level.
void AddGlobalOptions(CLI::App& app, GlobalOptions& globals) {
  AddHelpOption(app);
  app.add_option("--server", globals.server,
                 "Host and port of the server (50051 when not given), or another gRPC target "
                 "[env SHIRA_SERVER]")
      ->type_name("ADDR")
      ->group(kCommonOptions)
      ->capture_default_str();
  AddCredentialOptions(app, globals.credentials);
  AddJsonOption(app, globals.json);
  app.add_option("--timeout", globals.timeout,
                 "Deadline of each call to the server, in seconds (default: none)")
      ->type_name("SECONDS")
      ->check(CLI::PositiveNumber.description(""))
      ->group(kCommonOptions);
  app.add_option("--connect-timeout", globals.connect_timeout,
                 "How long to wait for a server that is not there or not serving yet")
      ->type_name("SECONDS")
      ->check(CLI::NonNegativeNumber.description(""))
      ->group(kCommonOptions)
      ->capture_default_str();
  app.add_flag("-v,--verbose", globals.verbose,
               "Print figures on standard error even when it is no terminal")
      ->group(kCommonOptions);
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

}  // namespace

std::unique_ptr<CLI::App> BuildApp(Invocation& invocation) {
  if (const char* server = std::getenv("SHIRA_SERVER"); server != nullptr && *server != '\0')
    invocation.globals.server = server;
  if (const char* token = std::getenv("SHIRA_TOKEN"); token != nullptr)
    invocation.globals.credentials.token = token;

  const Program program = {
      .name = "shira",
      .version = SHIRA_VERSION,
      .description = "Command-line client of a shira server",
      .footer = kFooter,
      .groups = kGroups,
      .formatter = std::make_shared<HelpFormatter>(),
      .add_options = [&](CLI::App& app) { AddGlobalOptions(app, invocation.globals); }};
  auto app = NewParser(program);
  AddCommands(*app, program, Commands(), invocation.run);
  AddHelpCommand(*app, invocation);
  return app;
}

std::optional<CommandLineEnd> Parse(CLI::App& app, Invocation& invocation,
                                    const std::vector<std::string>& arguments) {
  if (auto end = ParseCommandLine(app, arguments); end.has_value()) return end;
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
