#include <filesystem>
#include <limits>
#include <thread>

#include "absl/synchronization/notification.h"
#include "base/steady_clock.h"
#include "server/lifecycle/adapter_lifecycle.h"
#include "tests/server/lifecycle/lifecycle_fixture.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class AdapterBlendingTest : public testing::LifecycleFixture {
 protected:
  AdapterBlendingTest() {
    MustLoad("a", 0.5f);
    MustLoad("b", 0.25f);
  }

  absl::StatusOr<AdapterLifecycle::BlendResult> CreateSum(const std::string& name,
                                                          std::vector<AdapterSelectionTerm> parts,
                                                          const std::string& save_path = "") {
    return lifecycle_->CreateBlend(name, parts, {FusionRule::kSum}, save_path);
  }

  // The fused bytes of a state, all parameters together.
  ElementBuffer FusedOf(std::vector<AdapterSelectionTerm> terms) {
    auto handle = lifecycle_->Acquire(terms);
    EXPECT_THAT(handle, IsOk());
    ElementBuffer fused;
    if (!handle.ok()) return fused;
    for (const CompiledParameter& parameter : handle->state()->parameters) {
      fused.insert(fused.end(), parameter.fused.begin(), parameter.fused.end());
    }
    return fused;
  }
};

TEST_F(AdapterBlendingTest, ABlendIsAnAdapterAndDoesWhatItsPartsDo) {
  const ElementBuffer expected = FusedOf({{"a", 1.0}, {"b", 0.5}});
  ASSERT_OK_AND_ASSIGN(const auto result, CreateSum("blend", {{"a", 1.0}, {"b", 0.5}}));
  EXPECT_FALSE(result.already_created);
  EXPECT_EQ(result.report.total.shared_entries, 4);
  for (const AdapterInfo& info : {result.info, Info("blend")}) {
    EXPECT_EQ(info.state, AdapterState::kReady);
    EXPECT_EQ(info.version, 1);
    EXPECT_EQ(info.path, "");
    EXPECT_EQ(info.residency, AdapterResidency::kInMemory);
    EXPECT_EQ(info.adapter->format, "blend");
    EXPECT_EQ(info.adapter->entries, 4);
    EXPECT_EQ(info.adapter->digest,
              *BlendDigest({FusionRule::kSum},
                           {{Info("b").adapter->digest, 0.5}, {Info("a").adapter->digest, 1.0}}));
  }
  // Powers of two: rounding the sum of the deltas first loses nothing.
  EXPECT_EQ(FusedOf({{"blend", 1.0}}), expected);
}

TEST_F(AdapterBlendingTest, ABlendNeedsItsPartsNoMore) {
  ASSERT_THAT(CreateSum("blend", {{"a", 1.0}, {"b", 0.5}}), IsOk());
  const ElementBuffer whole = FusedOf({{"blend", 1.0}});
  const ElementBuffer half = FusedOf({{"blend", 0.5}});
  EXPECT_EQ(Info("a").running_requests, 0);
  ASSERT_THAT(Unload("a"), IsOk());
  ASSERT_THAT(Unload("b"), IsOk());
  std::filesystem::remove_all(root_.Path("a"));
  std::filesystem::remove_all(root_.Path("b"));
  EXPECT_EQ(FusedOf({{"blend", 1.0}}), whole);
  EXPECT_EQ(FusedOf({{"blend", 0.5}}), half);
  EXPECT_EQ((*lifecycle_->Deltas("blend"))->entries(), 4);
  ASSERT_THAT(CreateSum("blend2", {{"blend", 2.0}}), IsOk());
  ASSERT_THAT(Unload("blend2"), IsOk());
  ASSERT_THAT(Unload("blend"), IsOk());
  EXPECT_EQ(lifecycle_->memory_in_use_bytes(), 0);
}

TEST_F(AdapterBlendingTest, DeltasThatWereEvictedAreReadAgainForABlend) {
  // Room for all states, but not for all deltas: those of the first go.
  Restart(3 * lifecycle_->memory_in_use_bytes());
  MustLoad("a", 0.5f);
  MustLoad("b", 0.25f);
  for (int i = 0; i < 20; ++i) MustLoad("other" + std::to_string(i), static_cast<float>(i));
  const testing::TempFolder elsewhere;
  std::filesystem::rename(root_.Path("a"), elsewhere.Path("a"));
  EXPECT_THAT(CreateSum("blend", {{"a", 1.0}, {"b", 2.0}}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr(root_.Path("a"))));
  EXPECT_EQ(Info("blend").state, AdapterState::kFailed);
  std::filesystem::rename(elsewhere.Path("a"), root_.Path("a"));
  EXPECT_THAT(CreateSum("blend", {{"a", 1.0}, {"b", 2.0}}), IsOk());
}

TEST_F(AdapterBlendingTest, TheSameBlendAgainIsOkAndAnotherUnderItsNameIsNot) {
  ASSERT_THAT(CreateSum("blend", {{"a", 1.0}, {"b", 0.5}}), IsOk());
  ASSERT_OK_AND_ASSIGN(const auto again, CreateSum("blend", {{"b", 0.5}, {"a", 1.0}}));
  EXPECT_TRUE(again.already_created);
  EXPECT_EQ(again.info.version, 1);
  EXPECT_EQ(again.report.total.shared_entries, 4);
  EXPECT_THAT(CreateSum("blend", {{"a", 1.0}, {"b", 0.75}}),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("unload it first")));
  EXPECT_THAT(CreateSum("a", {{"a", 1.0}}), StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(lifecycle_->Load("blend", "a", ""), StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(lifecycle_->Acquire({{"blend", 1.0}}), IsOk());
}

TEST_F(AdapterBlendingTest, ErrorsInTheArgumentsChangeNothing) {
  const auto refused = [&](std::vector<AdapterSelectionTerm> parts, FusionOptions options,
                           absl::StatusCode code) {
    EXPECT_THAT(lifecycle_->CreateBlend("blend", parts, options, ""), StatusIs(code));
  };
  refused({}, {}, absl::StatusCode::kInvalidArgument);
  refused({{"nobody", 1.0}}, {}, absl::StatusCode::kNotFound);
  refused({{"a", 1.0}, {"a", 1.0}}, {}, absl::StatusCode::kInvalidArgument);
  refused({{"a", std::numeric_limits<double>::infinity()}}, {}, absl::StatusCode::kInvalidArgument);
  refused({{"a", 1.0}}, {FusionRule::kTies, 1.5}, absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(CreateSum("base", {{"a", 1.0}}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(lifecycle_->Get("blend"), std::nullopt);
  EXPECT_EQ(Info("a").running_requests, 0);
}

TEST_F(AdapterBlendingTest, ABlendThatFailsKeepsItsReasonAndNoMemory) {
  const int64_t before = lifecycle_->memory_in_use_bytes();
  // k_proj has one entry, q_proj three: a quarter of neither is a whole entry.
  EXPECT_THAT(lifecycle_->CreateBlend("blend", {AdapterSelectionTerm{"a", 1.0}},
                                      {FusionRule::kPruned, 0.25}, ""),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("leaves no entry")));
  EXPECT_EQ(Info("blend").state, AdapterState::kFailed);
  EXPECT_THAT(Info("blend").error, HasSubstr("leaves no entry"));
  // Beyond fp32, and beyond bf16 only.
  EXPECT_THAT(CreateSum("blend", {{"a", 1e39}}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(CreateSum("blend", {{"a", 6.8e38}}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(lifecycle_->memory_in_use_bytes(), before);
  EXPECT_THAT(CreateSum("blend", {{"a", 1.0}}), IsOk());
}

TEST_F(AdapterBlendingTest, ASavedBlendIsReadAgainFromItsFile) {
  ASSERT_OK_AND_ASSIGN(const auto result,
                       CreateSum("blend", {{"a", 1.0}, {"b", 0.3}}, "blend.shira"));
  EXPECT_EQ(result.info.path, root_.Path("blend.shira"));
  const Sha256Digest digest = result.info.adapter->digest;
  // Only its compiled state is in memory.
  EXPECT_EQ(Info("blend").memory_bytes + 4 * static_cast<int64_t>(sizeof(float)),
            Info("a").memory_bytes);
  ASSERT_OK_AND_ASSIGN(const auto deltas, lifecycle_->Deltas("blend"));
  EXPECT_EQ(deltas->digest, digest);
  const ElementBuffer half = FusedOf({{"blend", 0.5}});

  // The file is an adapter of its own, with the same values.
  ASSERT_THAT(lifecycle_->Load("file", "blend.shira", ""), IsOk());
  EXPECT_NE(Info("file").adapter->digest, digest);
  EXPECT_EQ(FusedOf({{"file", 0.5}}), half);

  EXPECT_THAT(CreateSum("other", {{"a", 1.0}}, "blend.shira"),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("blend.shira")));
  EXPECT_EQ(lifecycle_->Get("other"), std::nullopt);
}

TEST_F(AdapterBlendingTest, ASavedBlendWhoseFileChangesIsDataLoss) {
  ASSERT_THAT(CreateSum("blend", {{"a", 1.0}, {"b", 0.5}}, "blend.shira"), IsOk());
  ASSERT_THAT(CreateSum("other", {{"a", 1.0}, {"b", 0.25}}, "other.shira"), IsOk());
  std::filesystem::rename(root_.Path("other.shira"), root_.Path("blend.shira"));
  EXPECT_THAT(lifecycle_->Acquire({{"blend", 0.5}}),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("blend.shira")));
  EXPECT_THAT(lifecycle_->Acquire({{"blend", 1.0}}), IsOk());
}

TEST_F(AdapterBlendingTest, ABlendThatIsFilledUpInAPeftFolderKeepsItsDeltas) {
  ASSERT_THAT(CreateSum("blend", {{"a", 1.0}, {"b", 0.5}}, "folder/"), IsOk());
  EXPECT_EQ(Info("blend").path, root_.Path("folder"));
  EXPECT_EQ(Info("blend").adapter->entries, 4);
  EXPECT_TRUE(std::filesystem::exists(root_.Path("folder/adapter_config.json")));
  ASSERT_THAT(lifecycle_->Load("file", "folder", ""), IsOk());
  EXPECT_GT(Info("file").adapter->entries, 4);
  std::filesystem::remove_all(root_.Path("folder"));
  EXPECT_EQ((*lifecycle_->Deltas("blend"))->entries(), 4);
}

TEST_F(AdapterBlendingTest, ABlendThatCannotBeSavedDoesNotComeToBe) {
  const int64_t before = lifecycle_->memory_in_use_bytes();
  EXPECT_THAT(CreateSum("blend", {{"a", 1.0}}, "../blend.shira"),
              StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(CreateSum("blend", {{"a", 1.0}}, "absent/blend.shira"),
              StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ(lifecycle_->Get("blend"), std::nullopt);
  // A name just short enough, but not with what the file is called while it is written.
  const std::string name = std::string(248, 'x') + ".shira";
  EXPECT_FALSE(CreateSum("blend", {{"a", 1.0}}, name).ok());
  EXPECT_EQ(Info("blend").state, AdapterState::kFailed);
  EXPECT_EQ(lifecycle_->memory_in_use_bytes(), before);
  EXPECT_THAT(CreateSum("blend", {{"a", 1.0}}, "blend.shira"), IsOk());
}

TEST_F(AdapterBlendingTest, PartsStayLoadedWhileABlendIsMade) {
  absl::Notification compiling;
  absl::Notification go_on;
  SetCompileHook([&] {
    if (!compiling.HasBeenNotified()) compiling.Notify();
    go_on.WaitForNotification();
  });
  std::thread creator([&] { EXPECT_THAT(CreateSum("blend", {{"a", 1.0}}), IsOk()); });
  compiling.WaitForNotification();
  EXPECT_EQ(Info("blend").state, AdapterState::kLoading);
  EXPECT_THAT(Unload("a", SteadyNow()), StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_THAT(CreateSum("blend", {{"a", 1.0}}), StatusIs(absl::StatusCode::kAborted));
  go_on.Notify();
  creator.join();
  EXPECT_THAT(Unload("a"), IsOk());
}

}  // namespace
}  // namespace shira
