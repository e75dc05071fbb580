#include "tools/app.h"

#include "base/terminal/command_line.h"

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

}  // namespace

std::unique_ptr<CLI::App> BuildApp(Invocation& invocation) {
  const Program program = {.name = "shira-adapter",
                           .version = SHIRA_VERSION,
                           .description = "Works on SHiRA adapters without a server",
                           .footer = kFooter,
                           .groups = {},
                           .formatter = std::make_shared<CLI::Formatter>(),
                           .add_options = [&invocation](CLI::App& app) {
                             AddHelpOption(app);
                             AddJsonOption(app, invocation.json);
                           }};
  auto app = NewParser(program);
  AddCommands(*app, program, Commands(), invocation.run);
  return app;
}

}  // namespace shira::tools
