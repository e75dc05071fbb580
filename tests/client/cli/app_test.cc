#include "client/cli/app.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "absl/strings/str_cat.h"

namespace shira::cli {
namespace {

using ::testing::HasSubstr;

// Calls `check` with every command, groups and the program itself included.
void ForEachApp(const CLI::App& app, const std::function<void(const CLI::App&)>& check) {
  check(app);
  for (const CLI::App* subcommand : app.get_subcommands([](const CLI::App*) { return true; }))
    ForEachApp(*subcommand, check);
}

// "shira adapter load".
std::string FullName(const CLI::App& app) {
  return app.get_parent() == nullptr
             ? app.get_name()
             : absl::StrCat(FullName(*app.get_parent()), " ", app.get_name());
}

TEST(AppTest, DescribesEveryOptionOfEveryCommand) {
  Invocation invocation;
  ForEachApp(*BuildApp(invocation), [](const CLI::App& app) {
    for (const CLI::Option* option : app.get_options()) {
      EXPECT_GE(option->get_description().size(), 8) << app.get_name() << " " << option->get_name();
    }
  });
}

TEST(AppTest, DescribesEveryCommandWithAnExample) {
  Invocation invocation;
  ForEachApp(*BuildApp(invocation), [](const CLI::App& app) {
    EXPECT_GE(app.get_description().size(), 8) << app.get_name();
    EXPECT_THAT(app.get_footer(), HasSubstr("Example")) << app.get_name();
    EXPECT_THAT(app.get_footer(), HasSubstr(FullName(app))) << app.get_name();
  });
}

TEST(AppTest, OffersTheGlobalOptionsOnEveryCommand) {
  Invocation invocation;
  ForEachApp(*BuildApp(invocation), [](const CLI::App& app) {
    for (const char* option :
         {"--server", "--json", "--timeout", "--connect-timeout", "--verbose", "--help"}) {
      EXPECT_NE(app.get_option_no_throw(option), nullptr) << app.get_name() << " " << option;
    }
  });
}

TEST(AppTest, HasEveryCommandOfTheTable) {
  Invocation invocation;
  const auto app = BuildApp(invocation);
  for (const Command& command : Commands()) {
    const CLI::App* parent =
        *command.group == '\0' ? app.get() : app->get_subcommand(command.group);
    EXPECT_NO_THROW(parent->get_subcommand(command.name)) << command.name;
  }
}

TEST(AppTest, TakesGlobalOptionsBeforeAndBehindTheCommand) {
  for (const char* line :
       {"--json --server a:1 --timeout 2.5 -v --connect-timeout 0 adapter list",
        "adapter --json --server a:1 --timeout 2.5 -v --connect-timeout 0 list",
        "adapter list --json --server a:1 --timeout 2.5 -v --connect-timeout 0"}) {
    Invocation invocation;
    BuildApp(invocation)->parse(line);
    EXPECT_TRUE(invocation.globals.json) << line;
    EXPECT_TRUE(invocation.globals.verbose) << line;
    EXPECT_EQ(invocation.globals.server, "a:1") << line;
    EXPECT_EQ(invocation.globals.timeout, 2.5) << line;
    EXPECT_EQ(invocation.globals.connect_timeout, 0) << line;
    EXPECT_TRUE(invocation.run) << line;
  }
}

TEST(AppTest, LeavesTheDefaultsAlone) {
  Invocation invocation;
  BuildApp(invocation)->parse("status");
  EXPECT_FALSE(invocation.globals.json);
  EXPECT_FALSE(invocation.globals.timeout.has_value());
  EXPECT_EQ(invocation.globals.connect_timeout, 5);
}

}  // namespace
}  // namespace shira::cli
