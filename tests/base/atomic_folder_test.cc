#include "base/atomic_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>

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

std::set<std::string> NamesIn(const std::string& folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.insert(entry.path().filename());
  }
  return names;
}

TEST(AtomicFolderTest, AppearsWithAllItsFilesOrNotAtAll) {
  const TempFolder root;
  {
    ASSERT_OK_AND_ASSIGN(AtomicFolder folder, AtomicFolder::Create(root.Path("x/"), false));
    std::ofstream(folder.staging() + "/a") << "1";
    EXPECT_FALSE(std::filesystem::exists(root.Path("x")));
    EXPECT_THAT(folder.WithPath(absl::DataLossError(folder.staging() + "/a: broken")),
                StatusIs(absl::StatusCode::kDataLoss, root.Path("x/a: broken")));
  }
  EXPECT_TRUE(std::filesystem::is_empty(root.path()));
  ASSERT_OK_AND_ASSIGN(AtomicFolder folder, AtomicFolder::Create(root.Path("x/"), false));
  std::ofstream(folder.staging() + "/a") << "1";
  std::ofstream(folder.staging() + "/b") << "2";
  ASSERT_THAT(folder.Commit(), IsOk());
  EXPECT_THAT(NamesIn(root.path()), ElementsAre("x"));
  EXPECT_THAT(NamesIn(root.Path("x")), ElementsAre("a", "b"));
}

TEST(AtomicFolderTest, ReplacesOnlyWhenToldAndKeepsOtherFiles) {
  const TempFolder root;
  std::filesystem::create_directory(root.Path("x"));
  root.Write("x/a", "old");
  root.Write("x/README.md", "mine");
  EXPECT_THAT(AtomicFolder::Create(root.Path("x"), false),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr(root.Path("x"))));
  {
    ASSERT_OK_AND_ASSIGN(AtomicFolder folder, AtomicFolder::Create(root.Path("x"), true));
    std::ofstream(folder.staging() + "/a") << "new";
    ASSERT_THAT(folder.Commit(), IsOk());
  }
  EXPECT_THAT(NamesIn(root.path()), ElementsAre("x"));
  EXPECT_THAT(ReadFile(root.Path("x/a"), 100), IsOkAndHolds("new"));
  EXPECT_THAT(ReadFile(root.Path("x/README.md"), 100), IsOkAndHolds("mine"));
}

TEST(AtomicFolderTest, RefusesAFileInItsPlaceAndAFolderThatIsNotThere) {
  const TempFolder root;
  root.Write("x", "a file");
  EXPECT_THAT(AtomicFolder::Create(root.Path("x"), true),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("no folder")));
  EXPECT_THAT(AtomicFolder::Create(root.Path("none/x"), true),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr(root.Path("none/x"))));
}

}  // namespace
}  // namespace shira
