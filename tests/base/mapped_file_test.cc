#include "base/mapped_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "tests/testutil/status_matchers.h"
#include "tests/testutil/temp_folder.h"

namespace shira {
namespace {

using ::shira::testing::IsOkAndHolds;
using ::shira::testing::StatusIs;
using ::shira::testing::TempFolder;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::string_view Text(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

class MappedFileTest : public ::testing::Test {
 protected:
  const TempFolder folder_;
};

TEST_F(MappedFileTest, MapsTheWholeFile) {
  const std::string path = folder_.Write("file", std::string("a\0b", 3));
  ASSERT_OK_AND_ASSIGN(const MappedFile file, MappedFile::Open(path));
  EXPECT_EQ(Text(file), std::string_view("a\0b", 3));
  EXPECT_EQ(file.path(), path);
}

TEST_F(MappedFileTest, MapsAnEmptyFileToNoBytes) {
  ASSERT_OK_AND_ASSIGN(const MappedFile file, MappedFile::Open(folder_.Write("file", "")));
  EXPECT_TRUE(file.bytes().empty());
}

TEST_F(MappedFileTest, MovingKeepsTheBytes) {
  ASSERT_OK_AND_ASSIGN(MappedFile first, MappedFile::Open(folder_.Write("first", "1")));
  ASSERT_OK_AND_ASSIGN(MappedFile second, MappedFile::Open(folder_.Write("second", "2")));
  MappedFile moved(std::move(first));
  EXPECT_EQ(Text(moved), "1");
  moved = std::move(second);
  EXPECT_EQ(Text(moved), "2");
}

TEST_F(MappedFileTest, ReadsTheWholeFile) {
  EXPECT_THAT(ReadFile(folder_.Write("file", "contents"), 8), IsOkAndHolds("contents"));
  EXPECT_THAT(ReadFile(folder_.Write("empty", ""), 0), IsOkAndHolds(""));
}

// A copy is what protects from SIGBUS: whatever happens to the file, the reader gets bytes or an
// error.
TEST_F(MappedFileTest, ReadsAFileThatIsCutAndFilledMeanwhile) {
  constexpr size_t kBytes = 1 << 20;
  const std::string path = folder_.Write("file", std::string(kBytes, 'x'));
  std::atomic<bool> stop = false;
  std::thread other([&] {
    while (!stop) {
      EXPECT_EQ(truncate(path.c_str(), 4097), 0);
      EXPECT_EQ(truncate(path.c_str(), kBytes), 0);
    }
  });
  for (int i = 0; i < 200; ++i) {
    ASSERT_OK_AND_ASSIGN(const std::string contents, ReadFile(path, kBytes));
    EXPECT_LE(contents.size(), kBytes);
    EXPECT_GE(contents.size(), 4097u);
  }
  stop = true;
  other.join();
}

TEST_F(MappedFileTest, RefusesToReadMoreThanTheLimit) {
  const std::string path = folder_.Write("file", "contents");
  EXPECT_THAT(ReadFile(path, 7),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr(path), HasSubstr("at most 7 bytes, found 8"))));
}

TEST_F(MappedFileTest, RefusesAnAbsentFile) {
  const std::string path = folder_.Path("absent");
  EXPECT_THAT(MappedFile::Open(path), StatusIs(absl::StatusCode::kNotFound, HasSubstr(path)));
  EXPECT_THAT(ReadFile(path, 1), StatusIs(absl::StatusCode::kNotFound, HasSubstr(path)));
}

TEST_F(MappedFileTest, RefusesWhatMayNotBeRead) {
  if (geteuid() == 0) GTEST_SKIP() << "root may read everything";
  const std::string path = folder_.Write("file", "secret");
  ASSERT_EQ(chmod(path.c_str(), 0), 0);
  EXPECT_THAT(MappedFile::Open(path),
              StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr(path)));
}

TEST_F(MappedFileTest, RefusesWhatIsNoRegularFileWithoutWaiting) {
  const std::string pipe = folder_.Path("pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  for (const std::string& path : {folder_.path(), pipe}) {
    EXPECT_THAT(MappedFile::Open(path),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(path)));
    EXPECT_THAT(ReadFile(path, 1), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(path)));
  }
}

}  // namespace
}  // namespace shira
