#include "client/cli/app.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/terminal/usage_error.h"

namespace shira::cli {
namespace {

using ::testing::HasSubstr;

// Calls `check` with every command, groups and the program itself included.
void ForEachApp(const CLI::App& app, const std::function<void(const CLI::App&)>& check) {
  check(app);
  for (const CLI::App* subcommand : app.get_subcommands([](const CLI::App*) { return true; }))
    ForEachApp(*subcommand, check);
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

CommandLineEnd End(const std::vector<std::string>& arguments) {
  Invocation invocation;
  const auto app = BuildApp(invocation);
  return Parse(*app, invocation, arguments).value_or(CommandLineEnd{ExitCode::kOk, "", "none"});
}

TEST(ParseTest, PrintsHelpForACommandLineWithoutACommand) {
  const CommandLineEnd bare = End({});
  EXPECT_EQ(bare.code, ExitCode::kUsage);
  EXPECT_EQ(bare.err, "");
  EXPECT_THAT(bare.out, HasSubstr("Usage: shira "));
  EXPECT_THAT(bare.out, HasSubstr("generate"));
  EXPECT_THAT(bare.out, HasSubstr("help"));
  const CommandLineEnd group = End({"adapter"});
  EXPECT_EQ(group.code, ExitCode::kUsage);
  EXPECT_THAT(group.out, HasSubstr("Usage: shira adapter "));
}

TEST(ParseTest, HelpPrintsWhatTheOptionDoes) {
  EXPECT_EQ(End({"help"}).code, ExitCode::kOk);
  EXPECT_EQ(End({"help"}).out, End({"--help"}).out);
  EXPECT_EQ(End({"help"}).out, End({}).out);
  EXPECT_EQ(End({"help", "generate"}).out, End({"generate", "--help"}).out);
  EXPECT_EQ(End({"help", "adapter", "load"}).out, End({"adapter", "load", "--help"}).out);
  EXPECT_THAT(End({"help", "adapter", "load"}).out, HasSubstr("Usage: shira adapter load "));
}

TEST(ParseTest, SaysWhatWasMeant) {
  const std::vector<std::pair<std::vector<std::string>, const char*>> slips = {
      {{"genrate", "Hi"}, "'shira' has no command 'genrate'; did you mean 'shira generate'?"},
      {{"adpater", "list"}, "did you mean 'shira adapter'?"},
      {{"adapter", "lsit"}, "did you mean 'shira adapter list'?"},
      {{"load", "x", "y"}, "did you mean 'shira adapter load'?"},
      {{"list"}, "did you mean 'shira adapter list' or 'shira alias list'?"},
      {{"adapter", "create"}, "did you mean 'shira blend create'?"},
      {{"unpinn"}, "did you mean 'shira adapter unpin'?"},
      {{"help", "statsu"}, "did you mean 'shira status'?"},
      {{"generate", "Hi", "--temprature", "1"},
       "'shira generate' has no option --temprature; did you mean --temperature?"},
      {{"generate", "Hi", "--temprature=1"}, "did you mean --temperature?"},
      {{"--jsno", "status"}, "'shira' has no option --jsno; did you mean --json?"},
      // And not that --name is missing.
      {{"upload", "x", "--nmae", "y"}, "did you mean --name?"},
  };
  for (const auto& [arguments, text] : slips) {
    const CommandLineEnd end = End(arguments);
    EXPECT_EQ(end.code, ExitCode::kUsage) << text;
    EXPECT_EQ(end.out, "") << text;
    EXPECT_THAT(end.err, HasSubstr(text));
    EXPECT_THAT(end.err, HasSubstr("--help' for its options"));
  }
  for (const CommandLineEnd& end : {End({"status", "-x"}), End({"--tls-ca"})}) {
    EXPECT_EQ(end.out, "");
    EXPECT_THAT(end.err, HasSubstr("--help' for its options"));
    EXPECT_THAT(end.err, ::testing::Not(HasSubstr("did you mean")));
  }
  EXPECT_THAT(End({"frobnicate"}).err, ::testing::Not(HasSubstr("did you mean")));
  EXPECT_THAT(End({"adapter", "load", "a", "b", "c"}).err,
              HasSubstr("'shira adapter load' takes no further argument, found 'c'"));
}

TEST(ParseTest, MakesATargetOfTheServersAddress) {
  const auto globals = [](const char* server) {
    Invocation invocation;
    const auto app = BuildApp(invocation);
    EXPECT_FALSE(Parse(*app, invocation, {"status", "--server", server}).has_value()) << server;
    return invocation.globals;
  };
  EXPECT_EQ(globals("127.0.0.1").server, "127.0.0.1:50051");
  EXPECT_EQ(globals("http://localhost:7").server, "localhost:7");
  EXPECT_FALSE(globals("http://localhost:7").credentials.tls);
  EXPECT_TRUE(globals("https://localhost:7").credentials.tls);
  const CommandLineEnd end = End({"status", "--server", "localhost:"});
  EXPECT_EQ(end.code, ExitCode::kUsage);
  EXPECT_THAT(end.err, HasSubstr("--server: expected HOST:PORT"));
}

}  // namespace
}  // namespace shira::cli
