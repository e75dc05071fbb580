#include "base/terminal/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace shira {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// What was run.
struct Session {
  std::string ran;
};

RunCommand<Session> SetUpPaint(CLI::App& app) {
  const auto color = std::make_shared<std::string>();
  app.description("Paint a wall");
  app.add_option("--color", *color, "Its color");
  return [color](Session& session) {
    session.ran = "paint " + *color;
    return ExitCode::kOk;
  };
}

RunCommand<Session> SetUpWash(CLI::App& app) {
  app.description("Wash a wall");
  return [](Session& session) {
    session.ran = "wash";
    return ExitCode::kMismatch;
  };
}

constexpr std::array<CommandOf<Session>, 2> kTable = {{
    {"", "paint", &SetUpPaint},
    {"wall", "wash", &SetUpWash},
}};
constexpr std::array<CommandGroup, 1> kGroups = {{{"wall", "Care for walls"}}};

class CommandLineTest : public ::testing::Test {
 protected:
  CommandLineTest() {
    const Program program = {.name = "painter",
                             .version = "1.2",
                             .description = "Paints",
                             .footer = "Example: painter paint",
                             .groups = kGroups,
                             .formatter = std::make_shared<CLI::Formatter>(),
                             .add_options = [this](CLI::App& app) {
                               AddHelpOption(app);
                               AddJsonOption(app, json_);
                             }};
    parser_ = NewParser(program);
    AddCommands(*parser_, program, absl::MakeConstSpan(kTable), run_);
  }

  std::optional<CommandLineEnd> Parse(const std::vector<std::string>& arguments) {
    return ParseCommandLine(*parser_, arguments);
  }

  bool json_ = false;
  RunCommand<Session> run_;
  std::unique_ptr<CLI::App> parser_;
};

TEST_F(CommandLineTest, RunsTheCommandThatIsNamedWithItsOptions) {
  ASSERT_FALSE(Parse({"paint", "--color", "red"}).has_value());
  Session session;
  EXPECT_EQ(run_(session).value(), ExitCode::kOk);
  EXPECT_EQ(session.ran, "paint red");
  EXPECT_FALSE(json_);
}

TEST_F(CommandLineTest, RunsACommandOfAGroup) {
  ASSERT_FALSE(Parse({"wall", "wash", "--json"}).has_value());
  Session session;
  EXPECT_EQ(run_(session).value(), ExitCode::kMismatch);
  EXPECT_EQ(session.ran, "wash");
  EXPECT_TRUE(json_);
}

TEST_F(CommandLineTest, PrintsHelpAndVersionAsSuccess) {
  const std::optional<CommandLineEnd> help = Parse({"--help"});
  ASSERT_TRUE(help.has_value());
  EXPECT_EQ(help->code, ExitCode::kOk);
  EXPECT_THAT(help->out, HasSubstr("Care for walls"));
  EXPECT_THAT(help->out, HasSubstr(kCommonOptions));
  const std::optional<CommandLineEnd> version = Parse({"--version"});
  ASSERT_TRUE(version.has_value());
  EXPECT_EQ(version->code, ExitCode::kOk);
  EXPECT_EQ(version->out, "painter 1.2\n");
}

TEST_F(CommandLineTest, ListsTheCommandsWhereNoneIsNamed) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{}, std::vector<std::string>{"wall"}}) {
    const std::optional<CommandLineEnd> end = Parse(arguments);
    ASSERT_TRUE(end.has_value());
    EXPECT_EQ(end->code, ExitCode::kUsage);
    EXPECT_THAT(end->out, HasSubstr(arguments.empty() ? "Paint a wall" : "Wash a wall"));
    EXPECT_EQ(end->err, "");
  }
}

TEST_F(CommandLineTest, SaysWhatWasMeant) {
  const std::vector<std::pair<std::vector<std::string>, const char*>> slips = {
      {{"piant"}, "'painter' has no command 'piant'; did you mean 'painter paint'?"},
      {{"wash"}, "did you mean 'painter wall wash'?"},
      {{"paint", "--colour", "red"},
       "'painter paint' has no option --colour; did you mean --color?"},
      {{"paint", "red"}, "'painter paint' takes no further argument, found 'red'"},
  };
  for (const auto& [arguments, text] : slips) {
    const std::optional<CommandLineEnd> end = Parse(arguments);
    ASSERT_TRUE(end.has_value()) << text;
    EXPECT_EQ(end->code, ExitCode::kUsage) << text;
    EXPECT_EQ(end->out, "") << text;
    EXPECT_THAT(end->err, HasSubstr(text));
    EXPECT_THAT(end->err, HasSubstr("--help' for its options"));
  }
  EXPECT_THAT(Parse({"frobnicate"})->err, Not(HasSubstr("did you mean")));
}

}  // namespace
}  // namespace shira
