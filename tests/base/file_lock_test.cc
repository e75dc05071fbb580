#include "base/file_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>
#include <utility>

#include "tests/testutil/status_matchers.h"
#include "tests/testutil/temp_folder.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::testing::HasSubstr;

TEST(FileLockTest, OneAtATime) {
  const testing::TempFolder folder;
  const std::string path = folder.Path("lock");
  std::optional<FileLock> first = *FileLock::Take(path);
  EXPECT_THAT(FileLock::Take(path).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr(path)));
  std::optional<FileLock> moved(*std::move(first));
  first.reset();
  EXPECT_THAT(FileLock::Take(path).status(), StatusIs(absl::StatusCode::kFailedPrecondition));
  moved.reset();
  EXPECT_THAT(FileLock::Take(path), IsOk());
}

TEST(FileLockTest, AKilledProcessLetsGo) {
  const testing::TempFolder folder;
  const std::string path = folder.Path("lock");
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    const auto lock = FileLock::Take(path);
    const char byte = lock.ok() ? 'y' : 'n';
    if (write(ready[1], &byte, 1) != 1) _exit(1);
    pause();
    _exit(0);
  }
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  EXPECT_EQ(byte, 'y');
  EXPECT_THAT(FileLock::Take(path).status(), StatusIs(absl::StatusCode::kFailedPrecondition));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_THAT(FileLock::Take(path), IsOk());
}

TEST(FileLockTest, AFolderThatIsNotThereIsNamed) {
  EXPECT_THAT(FileLock::Take("/no/such/folder/lock").status(),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("/no/such/folder/lock")));
}

}  // namespace
}  // namespace shira
