#include "server/logging/log_setup.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "server/logging/log_event.h"
#include "server/logging/request_scope.h"
#include "tests/testutil/temp_folder.h"

namespace shira {
namespace {

using ::shira::testing::TempFolder;
using ::testing::ElementsAre;
using ::testing::EndsWith;

// The lines of some code that logs.
template <typename Code>
std::vector<std::string> LinesOf(LogOptions options, const Code& code) {
  const TempFolder folder;
  const std::string path = folder.Write("log", "");
  options.fd = open(path.c_str(), O_WRONLY);
  StartLogging(options);
  code();
  EXPECT_TRUE(StopLogging(absl::Seconds(60)));
  close(options.fd);
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return absl::StrSplit(text.str(), '\n', absl::SkipEmpty());
}

void LogSomething() {
  spdlog::debug("too unimportant");
  spdlog::info("nobody's");
  const RequestScope outer("id-1");
  spdlog::warn("of one");
  {
    const RequestScope inner("id-2");
    spdlog::info("of \"another\"\n");
  }
  LogEvent(spdlog::level::info, "call", {{"request", std::string("id-1")}});
}

TEST(LogSetupTest, TextSaysWhoseALineIs) {
  EXPECT_THAT(
      LinesOf({}, LogSomething),
      ElementsAre(EndsWith(" info nobody's"), EndsWith(" warning [id-1] of one"),
                  EndsWith(" info [id-2] of \"another\""), EndsWith(" info call request=id-1")));
}

TEST(LogSetupTest, EveryLineOfJsonIsOneObject) {
  const std::vector<std::string> lines = LinesOf({.json = true}, LogSomething);
  ASSERT_EQ(lines.size(), 4u);
  std::vector<nlohmann::json> objects;
  for (const std::string& line : lines) objects.push_back(nlohmann::json::parse(line));
  EXPECT_EQ(objects[0]["message"], "nobody's");
  EXPECT_EQ(objects[0].count("request"), 0u);
  EXPECT_EQ(objects[1]["level"], "warning");
  EXPECT_EQ(objects[1]["request"], "id-1");
  EXPECT_EQ(objects[2]["message"], "of \"another\"\n");
  EXPECT_EQ(objects[2]["request"], "id-2");
  EXPECT_EQ(objects[3]["event"], "call");
  EXPECT_EQ(objects[3].count("message"), 0u);
}

TEST(LogSetupTest, WhatIsLoggedAfterTheEndIsDroppedAndCounted) {
  LinesOf({}, LogSomething);
  EXPECT_EQ(DroppedLogLines(), 0);
  spdlog::info("too late");
  EXPECT_EQ(DroppedLogLines(), 1);
}

TEST(LogSetupTest, TheLevelDecidesWhatIsLogged) {
  EXPECT_THAT(LinesOf({.level = "error"}, LogSomething), ElementsAre());
  EXPECT_EQ(LinesOf({.level = "debug"}, LogSomething).size(), 5u);
}

}  // namespace
}  // namespace shira
