#include "server/lifecycle/file_removal.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "absl/time/clock.h"
#include "tests/testutil/temp_folder.h"

namespace shira {
namespace {

namespace fs = std::filesystem;

class FileRemovalTest : public ::testing::Test {
 protected:
  std::string Blend(const std::string& name) const { return folder_.Write(name, "a blend"); }

  const testing::TempFolder folder_;
};

TEST_F(FileRemovalTest, FilesStayUntilTheStateFileDoesNotNameThem) {
  FileRemoval removal(nullptr, /*has_state_file=*/true);
  const std::string early = Blend("early");
  const std::string late = Blend("late");
  removal.Add(3, FileOwner::kBlend, early);
  removal.Add(4, FileOwner::kBlend, late);
  removal.OnSaved(2);
  removal.RemoveNow();
  EXPECT_TRUE(fs::exists(early));
  removal.OnSaved(3);
  removal.RemoveNow();
  EXPECT_FALSE(fs::exists(early));
  EXPECT_TRUE(fs::exists(late));
}

TEST_F(FileRemovalTest, WhatNobodyRemovesIsRemovedByAThread) {
  FileRemoval removal(nullptr, /*has_state_file=*/true);
  const std::string blend = Blend("blend");
  removal.OnSaved(1);
  removal.Add(1, FileOwner::kBlend, blend);
  while (fs::exists(blend)) absl::SleepFor(absl::Milliseconds(1));
}

TEST_F(FileRemovalTest, WithoutAStateFileNothingIsWaitedFor) {
  FileRemoval removal(nullptr, /*has_state_file=*/false);
  const std::string blend = Blend("blend");
  removal.Add(7, FileOwner::kBlend, blend);
  removal.RemoveNow();
  EXPECT_FALSE(fs::exists(blend));
}

TEST_F(FileRemovalTest, FilesOfUsersAreNotTouched) {
  FileRemoval removal(nullptr, /*has_state_file=*/false);
  const std::string file = Blend("theirs");
  removal.Add(0, FileOwner::kUser, file);
  removal.RemoveNow();
  removal.Remove(FileOwner::kUser, file);
  EXPECT_TRUE(fs::exists(file));
}

}  // namespace
}  // namespace shira
