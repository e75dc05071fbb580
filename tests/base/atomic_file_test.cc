#include "base/atomic_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "tests/testutil/status_matchers.h"
#include "tests/testutil/temp_folder.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::IsOkAndHolds;
using ::shira::testing::StatusIs;
using ::shira::testing::TempFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> NamesIn(const TempFolder& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    names.push_back(entry.path().filename());
  }
  return names;
}

TEST(AtomicFileTest, IsSeenUnderItsNameOnlyAfterCommit) {
  const TempFolder folder;
  ASSERT_OK_AND_ASSIGN(AtomicFile file, AtomicFile::Create(folder.Path("x")));
  const std::string large(1'000'000, 'b');
  ASSERT_THAT(file.Append("a"), IsOk());
  ASSERT_THAT(file.Append(large), IsOk());
  ASSERT_THAT(file.Append("c"), IsOk());
  EXPECT_FALSE(std::filesystem::exists(folder.Path("x")));
  ASSERT_THAT(file.Commit(), IsOk());
  EXPECT_THAT(NamesIn(folder), ElementsAre("x"));
  EXPECT_THAT(ReadFile(folder.Path("x"), 2'000'000), IsOkAndHolds("a" + large + "c"));
}

TEST(AtomicFileTest, LeavesWhatWasThereAndNoRestWhenItIsGivenUp) {
  const TempFolder folder;
  folder.Write("x", "old");
  {
    ASSERT_OK_AND_ASSIGN(AtomicFile file, AtomicFile::Create(folder.Path("x")));
    const AtomicFile moved = std::move(file);
    EXPECT_EQ(NamesIn(folder).size(), 2);
  }
  EXPECT_THAT(NamesIn(folder), ElementsAre("x"));
  EXPECT_THAT(ReadFile(folder.Path("x"), 100), IsOkAndHolds("old"));
}

TEST(AtomicFileTest, ReplacesAnOlderFile) {
  const TempFolder folder;
  folder.Write("x", "old and longer");
  ASSERT_OK_AND_ASSIGN(AtomicFile file, AtomicFile::Create(folder.Path("x")));
  ASSERT_THAT(file.Append("new"), IsOk());
  ASSERT_THAT(file.Commit(), IsOk());
  EXPECT_THAT(ReadFile(folder.Path("x"), 100), IsOkAndHolds("new"));
}

TEST(AtomicFileTest, SaysAtOnceThatItsPlaceCannotBeWritten) {
  const TempFolder folder;
  EXPECT_THAT(AtomicFile::Create(folder.Path("none/x")),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr(folder.Path("none/x"))));
  EXPECT_THAT(AtomicFile::Create(folder.path()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("it is a folder")));
}

TEST(AtomicFileTest, ReportsAFullDiskWithThePathAndLeavesNothing) {
  const TempFolder folder;
  // The nearest to a full disk that needs no privilege.
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before;
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit limited = {100'000, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limited), 0);
  {
    ASSERT_OK_AND_ASSIGN(AtomicFile file, AtomicFile::Create(folder.Path("x")));
    absl::Status status = file.Append(std::string(200'000, 'x'));
    if (status.ok()) status = file.Commit();
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(std::string(status.message()), HasSubstr(folder.Path("x")));
  }
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_THAT(NamesIn(folder), IsEmpty());
}

}  // namespace
}  // namespace shira
