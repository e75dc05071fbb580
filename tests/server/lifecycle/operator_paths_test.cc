// Adapters that the operator loads from outside of the roots: what they need works, and nobody else
// gets at their paths.

#include <filesystem>

#include "server/lifecycle/adapter_lifecycle.h"
#include "tests/server/lifecycle/lifecycle_fixture.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

namespace fs = std::filesystem;
using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::testing::IsEmpty;

constexpr int64_t kDeltaBytes = 4 * sizeof(float);  // of the fixture's adapters
constexpr absl::StatusCode kDenied = absl::StatusCode::kPermissionDenied;

class OperatorPathsTest : public testing::LifecycleFixture {
 protected:
  OperatorPathsTest() {
    WriteAdapter("tone", 0.5f);
    fs::rename(root_.Path("tone"), path_);
    Restart(OptionsWithPath());
  }

  AdapterLifecycle::Options OptionsWithPath() const {
    AdapterLifecycle::Options options = Options();
    options.operator_paths = {path_};
    options.state_file = outside_.Path("state.json");
    return options;
  }
  absl::Status LoadByOperator() {
    return lifecycle_->Load("tone", path_, "", {.by_operator = true}).status();
  }

  const testing::TempFolder outside_;
  const std::string path_ = outside_.Path("tone");
};

TEST_F(OperatorPathsTest, OnlyTheOperatorMayLoadFromThem) {
  EXPECT_THAT(lifecycle_->Load("tone", path_, ""), StatusIs(kDenied));
  EXPECT_THAT(LoadByOperator(), IsOk());
  EXPECT_THAT(lifecycle_->Load("tone", path_, ""), StatusIs(kDenied));
  EXPECT_THAT(lifecycle_->Load("copy", path_, "", {.replace = true}), StatusIs(kDenied));
  WriteAdapter("inside", 0.25f);
  EXPECT_THAT(lifecycle_->Load("inside", root_.Path("inside"), "", {.by_operator = true}), IsOk());
}

TEST_F(OperatorPathsTest, NoBlendIsWrittenIntoThem) {
  ASSERT_THAT(LoadByOperator(), IsOk());
  MustLoad("inside", 0.25f);
  for (const std::string& path : {path_ + "/blend", path_ + "/blend.shira", outside_.Path("b")}) {
    EXPECT_THAT(lifecycle_->CreateBlend("blend", {{"tone", 1.0}, {"inside", 1.0}},
                                        {FusionRule::kSum}, path),
                StatusIs(kDenied))
        << path;
    EXPECT_FALSE(fs::exists(path));
  }
}

TEST_F(OperatorPathsTest, WhatLeftMemoryIsReadAgain) {
  ASSERT_THAT(LoadByOperator(), IsOk());
  const int64_t one_state = lifecycle_->memory_in_use_bytes() - kDeltaBytes;
  AdapterLifecycle::Options options = OptionsWithPath();
  options.memory_budget_bytes = one_state;
  Restart(options);
  ASSERT_THAT(LoadByOperator(), IsOk());
  MustLoad("inside", 0.25f);
  ASSERT_EQ(Info("tone").residency, AdapterResidency::kOnDisk);
  EXPECT_THAT(lifecycle_->Acquire({{"tone", 1.0}}), IsOk());
  EXPECT_EQ(lifecycle_->stats().cold_starts.count, 1);
}

TEST_F(OperatorPathsTest, ARestartFindsThemAsLongAsTheOperatorNamesThem) {
  ASSERT_THAT(LoadByOperator(), IsOk());
  Restart(OptionsWithPath());
  EXPECT_THAT(lifecycle_->Restore().failed, IsEmpty());
  EXPECT_EQ(Info("tone").state, AdapterState::kReady);

  AdapterLifecycle::Options options = OptionsWithPath();
  options.operator_paths.clear();
  Restart(options);
  EXPECT_EQ(lifecycle_->Restore().failed.size(), 1);
  EXPECT_EQ(Info("tone").state, AdapterState::kFailed);
}

}  // namespace
}  // namespace shira
