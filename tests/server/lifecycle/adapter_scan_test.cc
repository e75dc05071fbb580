#include "server/lifecycle/adapter_scan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/testutil/status_matchers.h"
#include "tests/testutil/temp_folder.h"

namespace shira {
namespace {

using ::shira::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(AdapterScanTest, FindsFoldersAndPackedFilesByName) {
  const testing::TempFolder folder;
  for (const char* name : {"tone", "a.b", ".hidden", "-bad", "base"}) {
    std::filesystem::create_directory(folder.Path(name));
  }
  for (const char* name : {"terse.shira", "v1.2.shira", "tone.shira", ".x.shira", "notes.txt",
                           "model.safetensors", "b\xc3\xa4.shira"}) {
    folder.Write(name, "x");
  }
  ASSERT_OK_AND_ASSIGN(const AdapterScan scan, ScanForAdapters(folder.path()));
  std::vector<std::string> found;
  for (const auto& [name, path] : scan.found) {
    found.push_back(name + " " + path.substr(folder.path().size() + 1));
  }
  EXPECT_THAT(found, ElementsAre("a.b a.b", "terse terse.shira", "tone tone", "v1.2 v1.2.shira"));
  EXPECT_THAT(scan.problems,
              ::testing::UnorderedElementsAre(HasSubstr("/-bad: "), HasSubstr("/base: "),
                                              HasSubstr(".shira: adapter name"),
                                              HasSubstr("tone.shira: the name 'tone' is that of")));
}

TEST(AdapterScanTest, AFolderThatIsNotThereIsAnError) {
  EXPECT_THAT(ScanForAdapters("/no/such").status(),
              StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("/no/such")));
}

}  // namespace
}  // namespace shira
