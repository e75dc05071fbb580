#include "client/cli/history_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/testutil/temp_folder.h"

namespace shira::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::string ContentOf(const std::string& path) {
  std::ostringstream content;
  content << std::ifstream(path).rdbuf();
  return content.str();
}

mode_t ModeOf(const std::string& path) {
  struct stat info = {};
  EXPECT_EQ(stat(path.c_str(), &info), 0) << path;
  return info.st_mode & 07777;
}

class HistoryFileTest : public ::testing::Test {
 protected:
  HistoryFile Open(const std::string& path) {
    absl::StatusOr<HistoryFile> file = HistoryFile::Open(path);
    EXPECT_TRUE(file.ok()) << file.status();
    return *std::move(file);
  }

  testing::TempFolder folder_;
};

TEST_F(HistoryFileTest, KeepsLinesForTheNextOne) {
  const std::string path = folder_.Path("new/state/history");
  {
    HistoryFile file = Open(path);
    EXPECT_THAT(file.lines(), IsEmpty());
    for (const char* line : {"one", "two", "two", "", "grüße"}) EXPECT_TRUE(file.Append(line).ok());
  }
  EXPECT_THAT(Open(path).lines(), ElementsAre("one", "two", "grüße"));
}

TEST_F(HistoryFileTest, IsForTheUserAlone) {
  umask(0);
  const std::string path = folder_.Path("new/state/history");
  Open(path);
  EXPECT_EQ(ModeOf(path), 0600);
  EXPECT_EQ(ModeOf(folder_.Path("new")), 0700);
  EXPECT_EQ(ModeOf(folder_.Path("new/state")), 0700);
  chmod(path.c_str(), 0644);
  Open(path);
  EXPECT_EQ(ModeOf(path), 0600);
}

TEST_F(HistoryFileTest, LosesNothingOfTwoThatWriteAtATime) {
  const std::string path = folder_.Path("history");
  HistoryFile a = Open(path);
  HistoryFile b = Open(path);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(a.Append(absl::StrCat("a", i)).ok());
    EXPECT_TRUE(b.Append(absl::StrCat("b", i)).ok());
  }
  EXPECT_EQ(ContentOf(path), "a0\nb0\na1\nb1\na2\nb2\n");
}

TEST_F(HistoryFileTest, DropsTheOldestOfTooMany) {
  std::string content;
  for (size_t i = 0; i <= 2 * HistoryFile::kMaxLines; ++i) absl::StrAppend(&content, i, "\n");
  const std::string path = folder_.Write("history", content);
  {
    HistoryFile file = Open(path);
    EXPECT_EQ(file.lines().size(), HistoryFile::kMaxLines);
    EXPECT_EQ(file.lines().back(), absl::StrCat(2 * HistoryFile::kMaxLines));
    EXPECT_TRUE(file.Append("new").ok());
  }
  EXPECT_EQ(ModeOf(path), 0600);
  const HistoryFile again = Open(path);
  EXPECT_EQ(again.lines().front(), absl::StrCat(HistoryFile::kMaxLines + 2));
  EXPECT_EQ(again.lines().back(), "new");
}

TEST_F(HistoryFileTest, RefusesWhatIsNoFileOfTheUser) {
  EXPECT_FALSE(HistoryFile::Open(folder_.Path("")).ok());
  EXPECT_FALSE(HistoryFile::Open("/dev/null").ok());
  EXPECT_FALSE(HistoryFile::Open(folder_.Write("file", "") + "/history").ok());
  const std::string pipe = folder_.Path("pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_FALSE(HistoryFile::Open(pipe).ok());
}

TEST_F(HistoryFileTest, LiesWhereTheEnvironmentSays) {
  const auto path = [](const char* shira, const char* state, const char* home) {
    for (const auto& [name, value] :
         {std::pair("SHIRA_HISTORY", shira), std::pair("XDG_STATE_HOME", state),
          std::pair("HOME", home)}) {
      value != nullptr ? setenv(name, value, 1) : unsetenv(name);
    }
    return DefaultHistoryPath();
  };
  EXPECT_EQ(path(nullptr, nullptr, "/home/me"), "/home/me/.local/state/shira/history");
  EXPECT_EQ(path(nullptr, "/state", "/home/me"), "/state/shira/history");
  // The specification has relative paths ignored.
  EXPECT_EQ(path(nullptr, "state", "/home/me"), "/home/me/.local/state/shira/history");
  EXPECT_EQ(path("/tmp/x", "/state", "/home/me"), "/tmp/x");
  EXPECT_EQ(path("", "/state", "/home/me"), "");
  EXPECT_EQ(path(nullptr, nullptr, nullptr), "");
}

}  // namespace
}  // namespace shira::cli
