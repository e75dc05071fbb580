#include "tools/app.h"

#include <utility>

namespace shira::tools {
namespace {

constexpr char kFooter[] =
    "Exit status: 0 ok; 1 error; 2 wrong usage; 4 verify found that the adapter does not fit; 130 "
    "interrupted.\n"
    "docs/tools.md has an example of every command and describes their JSON.\n"
    "\n"
    "Examples:\n"
    "  shira-adapter inspect examples/adapters/pirate\n"
    "  shira-adapter extract --base llama --tuned llama-tuned --density 0.01 --out tuned.adapter\n"
    "  shira-adapter from-lora --help";

constexpr char kGlobalGroup[] = "Options of every command";

// On every command and not only at the top, so that each --help is complete.
void AddGlobalOptions(CLI::App& app, GlobalOptions& globals) {
  app.set_help_flag("-h,--help", "Print this help and exit")->group(kGlobalGroup);
  app.add_flag("--json", globals.json,
               "Print exactly one JSON object on standard output, also for errors")
      ->group(kGlobalGroup);
}

}  // namespace

std::unique_ptr<CLI::App> BuildApp(Invocation& invocation) {
  auto app =
      std::make_unique<CLI::App>("Works on SHiRA adapters without a server", "shira-adapter");
  app->get_formatter()->column_width(34);
  AddGlobalOptions(*app, invocation.globals);
  app->set_version_flag("--version", "shira-adapter " SHIRA_VERSION)
      ->description("Print the version and exit")
      ->group(kGlobalGroup);
  app->footer(kFooter);
  app->require_subcommand(1);
  for (const Command& command : Commands()) {
    CLI::App* subcommand = app->add_subcommand(command.name);
    CommandRunner runner = command.setup(*subcommand);
    AddGlobalOptions(*subcommand, invocation.globals);
    subcommand->callback([&invocation, runner = std::move(runner)] { invocation.run = runner; });
  }
  return app;
}

}  // namespace shira::tools
