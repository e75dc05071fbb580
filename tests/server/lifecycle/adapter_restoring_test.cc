// What survives a restart, and what becomes of what does not.

#include <filesystem>
#include <fstream>

#include "absl/time/clock.h"
#include "base/strings.h"
#include "server/lifecycle/adapter_lifecycle.h"
#include "tests/server/lifecycle/lifecycle_fixture.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

namespace fs = std::filesystem;
using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class AdapterRestoringTest : public testing::LifecycleFixture {
 protected:
  AdapterRestoringTest() { Restart(PersistentOptions()); }

  AdapterLifecycle::Options PersistentOptions() const {
    AdapterLifecycle::Options options = Options();
    options.state_file = state_.Path("state.json");
    options.uploads = UploadStore::Options{state_.Path("uploads"), 1 << 20, 1 << 20};
    return options;
  }
  AdapterLifecycle::RestoreReport RestartAndRestore() {
    Restart(PersistentOptions());
    return lifecycle_->Restore();
  }
  absl::Status CreateSum(const std::string& name, std::vector<AdapterSelectionTerm> parts,
                         const std::string& save_path = "") {
    return lifecycle_->CreateBlend(name, parts, {FusionRule::kSum}, save_path).status();
  }
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
  // Uploads what WriteAdapter() wrote into `folder`, and loads it.
  absl::StatusOr<AdapterLifecycle::LoadResult> Upload(const std::string& name,
                                                      const std::string& folder,
                                                      AdapterLifecycle::LoadOptions options = {}) {
    UploadManifest manifest{name, {}};
    std::string bytes;
    for (const auto& entry : fs::directory_iterator(root_.Path(folder))) {
      std::ifstream file(entry.path(), std::ios::binary);
      const std::string content{std::istreambuf_iterator<char>(file), {}};
      manifest.files.push_back({entry.path().filename(), static_cast<int64_t>(content.size()), ""});
      bytes += content;
    }
    auto upload = lifecycle_->uploads()->Begin(std::move(manifest));
    EXPECT_THAT(upload, IsOk());
    EXPECT_THAT((*upload)->Append(bytes), IsOk());
    const absl::StatusOr<std::string> path = (*upload)->Commit();
    EXPECT_THAT(path, IsOk());
    return lifecycle_->LoadUpload(name, *path, "", options);
  }
  std::vector<std::string> FilesIn(const std::string& folder) const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(state_.Path(folder))) {
      const std::string name = entry.path().filename();
      if (!name.starts_with('.')) names.push_back(name);
    }
    return names;
  }

  const testing::TempFolder state_;
};

TEST_F(AdapterRestoringTest, EverythingButRunningRequestsSurvives) {
  MustLoad("tone", 0.5f);
  MustLoad("gone", 3.0f);
  ASSERT_THAT(Unload("gone"), IsOk());
  ASSERT_THAT(lifecycle_->SetAlias("prod", "tone"), IsOk());
  WriteAdapter("tone-2", 0.25f);
  ASSERT_THAT(lifecycle_->Load("tone", "tone-2", "", {.replace = true}), IsOk());
  ASSERT_THAT(lifecycle_->SetAlias("prod", "tone"), IsOk());
  ASSERT_THAT(lifecycle_->PinInMemory("tone"), IsOk());
  ASSERT_THAT(lifecycle_->SetDefault({{"prod", 0.5}}), IsOk());
  const AdapterInfo before = Info("tone");
  const ElementBuffer fused = FusedOf({{"prod", 0.5}});

  const AdapterLifecycle::RestoreReport report = RestartAndRestore();
  EXPECT_EQ(report.restored, 2);
  EXPECT_THAT(report.failed, IsEmpty());
  EXPECT_THAT(lifecycle_->List(), SizeIs(2));
  const AdapterInfo after = Info("tone");
  EXPECT_EQ(after.version, 2);
  EXPECT_EQ(after.adapter->digest, before.adapter->digest);
  EXPECT_EQ(after.adapter->entries, before.adapter->entries);
  EXPECT_EQ(after.path, before.path);
  EXPECT_TRUE(after.pinned);
  EXPECT_EQ(FusedOf({{"prod", 0.5}}), fused);
  EXPECT_EQ(lifecycle_->AcquireDefault()->adapters()[0].weight, 0.5);
  EXPECT_EQ(lifecycle_->AcquireDefault()->adapters()[0].version, 2);
  EXPECT_EQ(lifecycle_->RollbackAlias("prod")->target, (AdapterVersion{"tone", 1}));
  // A version is used once, also over a restart.
  MustLoad("gone", 4.0f);
  EXPECT_EQ(Info("gone").version, 2);
}

TEST_F(AdapterRestoringTest, ABlendSurvivesThePartsThatItWasMadeOf) {
  MustLoad("a", 0.5f);
  MustLoad("b", 0.25f);
  ASSERT_THAT(CreateSum("blend", {{"a", 1.0}, {"b", 0.3}}), IsOk());
  ASSERT_THAT(CreateSum("saved", {{"a", 1.0}, {"b", 0.7}}, "saved.shira"), IsOk());
  ASSERT_THAT(CreateSum("folder", {{"a", 1.0}, {"b", 0.9}}, "folder"), IsOk());
  EXPECT_EQ(Info("blend").path, "");
  EXPECT_EQ(Info("saved").path, root_.Path("saved.shira"));
  EXPECT_EQ(Info("folder").path, root_.Path("folder"));
  const ElementBuffer whole = FusedOf({{"blend", 1.0}});
  const ElementBuffer half = FusedOf({{"folder", 0.5}});
  const Sha256Digest digest = Info("blend").adapter->digest;
  ASSERT_THAT(Unload("a"), IsOk());
  ASSERT_THAT(Unload("b"), IsOk());
  fs::remove_all(root_.Path("a"));
  fs::remove_all(root_.Path("b"));

  EXPECT_EQ(RestartAndRestore().restored, 3);
  EXPECT_EQ(FusedOf({{"blend", 1.0}}), whole);
  EXPECT_EQ(FusedOf({{"folder", 0.5}}), half);
  EXPECT_EQ(Info("blend").adapter->digest, digest);
  EXPECT_EQ(Info("blend").adapter->format, "blend");
  EXPECT_EQ(Info("blend").path, "");
  EXPECT_EQ(Info("saved").path, root_.Path("saved.shira"));
  EXPECT_THAT(FilesIn("state.json.blends"), SizeIs(2));
  ASSERT_THAT(Unload("blend"), IsOk());
  ASSERT_THAT(Unload("saved"), IsOk());
  ASSERT_THAT(Unload("folder"), IsOk());
  EXPECT_THAT(FilesIn("state.json.blends"), IsEmpty());
  EXPECT_TRUE(fs::exists(root_.Path("saved.shira")));
}

TEST_F(AdapterRestoringTest, ABlendThatFailsLeavesNoFile) {
  MustLoad("a", 0.5f);
  EXPECT_FALSE(CreateSum("blend", {{"a", 6.8e38}}).ok());
  EXPECT_FALSE(CreateSum("blend", {{"a", 1.0}}, "no/such/folder").ok());
  EXPECT_THAT(FilesIn("state.json.blends"), IsEmpty());
}

TEST_F(AdapterRestoringTest, AMissingOrChangedFileIsReportedAndTheRestIsThere) {
  for (const char* name : {"missing", "changed", "broken", "fine"}) MustLoad(name, 0.5f + name[0]);
  ASSERT_THAT(lifecycle_->SetAlias("prod", "changed"), IsOk());
  ASSERT_THAT(lifecycle_->SetDefault({{"missing", 1.0}}), IsOk());
  fs::rename(root_.Path("missing"), root_.Path("elsewhere"));
  WriteAdapter("changed", 9.0f);
  root_.Write("broken/adapter_model.safetensors", "garbage");

  const AdapterLifecycle::RestoreReport report = RestartAndRestore();
  EXPECT_EQ(report.restored, 1);
  ASSERT_THAT(report.failed, SizeIs(3));
  EXPECT_EQ(report.failed[0].first, "broken@1");
  EXPECT_THAT(report.failed[1].second,
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("has changed")));
  EXPECT_THAT(report.failed[2].second, StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ(Info("missing").state, AdapterState::kFailed);
  EXPECT_EQ(Info("missing").version, 1);
  EXPECT_THAT(Info("changed").error, HasSubstr("has changed"));
  EXPECT_THAT(lifecycle_->Acquire({{"fine", 1.0}}), IsOk());
  EXPECT_THAT(lifecycle_->Acquire({{"prod", 1.0}}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("has changed")));
  // No other state takes the place of the default.
  EXPECT_THAT(lifecycle_->AcquireDefault().status(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("default state")));

  // It is not forgotten: put back, it is there after the next restart; or loaded again at once.
  MustLoad("another", 0.125f);  // writes the state file
  fs::rename(root_.Path("elsewhere"), root_.Path("missing"));
  EXPECT_EQ(RestartAndRestore().restored, 3);
  EXPECT_EQ(lifecycle_->AcquireDefault()->adapters()[0].name, "missing");
  WriteAdapter("changed", 0.5f + 'c');
  EXPECT_THAT(Load("changed"), IsOk());
  EXPECT_EQ(Info("changed").version, 1);
  EXPECT_THAT(lifecycle_->Acquire({{"prod", 1.0}}), IsOk());
  // Other content is another version, and the alias still names the old one.
  MustLoad("broken", 77.0f);
  EXPECT_EQ(Info("broken").version, 2);
  EXPECT_THAT(lifecycle_->List(), SizeIs(5));
}

TEST_F(AdapterRestoringTest, ADamagedStateFileIsLeftAloneAndNamed) {
  MustLoad("tone", 0.5f);
  lifecycle_.reset();
  const std::string path = state_.Write("state.json", "{\"format\": \"shira-server-state\", ");
  const auto opened = AdapterLifecycle::Create(PersistentOptions(), reader_, engine_);
  EXPECT_THAT(opened.status(), StatusIs(absl::StatusCode::kDataLoss,
                                        AllOf(HasSubstr(path), HasSubstr("left as it is"))));
  std::ifstream file(path);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}),
            "{\"format\": \"shira-server-state\", ");
}

TEST_F(AdapterRestoringTest, TwoServersCannotShareAStateFile) {
  AdapterLifecycle::Options options = PersistentOptions();
  options.uploads.reset();
  EXPECT_THAT(AdapterLifecycle::Create(options, reader_, engine_).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("another server")));
}

TEST_F(AdapterRestoringTest, WhatAKilledServerLeftBesideTheStateFileIsRemoved) {
  MustLoad("a", 0.5f);
  ASSERT_THAT(CreateSum("blend", {{"a", 2.0}}), IsOk());
  lifecycle_.reset();
  state_.Write(".state.json.partial-77-0", "{");
  state_.Write("state.json.blends/orphan.shira", "x");
  RestartAndRestore();
  EXPECT_FALSE(fs::exists(state_.Path(".state.json.partial-77-0")));
  EXPECT_THAT(FilesIn("state.json.blends"), SizeIs(1));
  EXPECT_EQ(Info("blend").state, AdapterState::kReady);
}

TEST_F(AdapterRestoringTest, AStateFileThatCannotBeWrittenIsReportedAndTriedAgain) {
  AdapterLifecycle::Options options = PersistentOptions();
  std::vector<absl::Status> errors;
  options.on_state_file_error = [&](const absl::Status& error) { errors.push_back(error); };
  Restart(std::move(options));
  // A folder in its place: root may write anywhere.
  fs::create_directories(state_.Path("state.json/x"));
  MustLoad("tone", 0.5f);
  ASSERT_THAT(errors, SizeIs(1));
  EXPECT_THAT(errors[0].message(), HasSubstr("state.json"));
  EXPECT_EQ(Info("tone").state, AdapterState::kReady);
  EXPECT_GT(lifecycle_->stats().unsaved_changes, 0);
  fs::remove_all(state_.Path("state.json"));
  MustLoad("loud", 0.25f);
  EXPECT_THAT(errors, SizeIs(1));
  EXPECT_EQ(lifecycle_->stats().unsaved_changes, 0);
  EXPECT_EQ(RestartAndRestore().restored, 2);
}

// ---- Uploads ------------------------------------------------------------------------------------

TEST_F(AdapterRestoringTest, AnUploadLivesAsLongAsItsAdapter) {
  WriteAdapter("tone", 0.5f);
  ASSERT_THAT(Upload("team/tone", "tone"), IsOk());
  EXPECT_THAT(Info("team/tone").path, HasSubstr(state_.Path("uploads/team+tone.")));
  EXPECT_EQ(RestartAndRestore().restored, 1);
  EXPECT_THAT(lifecycle_->Acquire({{"team/tone", 0.5}}), IsOk());
  EXPECT_GT(lifecycle_->stats().upload_in_use_bytes, 0);
  ASSERT_THAT(Unload("team/tone"), IsOk());
  EXPECT_THAT(FilesIn("uploads"), IsEmpty());
  EXPECT_EQ(lifecycle_->stats().upload_in_use_bytes, 0);
}

TEST_F(AdapterRestoringTest, AnUploadThatIsNotLoadedLeavesNoFile) {
  WriteAdapter("tone", 0.5f);
  WriteAdapter("other", 0.25f);
  ASSERT_THAT(Upload("tone", "tone"), IsOk());
  EXPECT_THAT(FilesIn("uploads"), SizeIs(1));
  EXPECT_THAT(Upload("tone", "other"), StatusIs(absl::StatusCode::kAlreadyExists));
  ASSERT_OK_AND_ASSIGN(const auto again, Upload("tone", "tone"));
  EXPECT_TRUE(again.already_loaded);
  root_.Write("other/adapter_model.safetensors", "garbage");
  EXPECT_THAT(Upload("broken", "other"), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(FilesIn("uploads"), SizeIs(1));
}

TEST_F(AdapterRestoringTest, AReplacedUploadIsDeletedWhenItsLastUserIsDone) {
  WriteAdapter("tone", 0.5f);
  WriteAdapter("other", 0.25f);
  ASSERT_THAT(Upload("tone", "tone"), IsOk());
  auto handle = lifecycle_->Acquire({{"tone", 1.0}});
  ASSERT_THAT(handle, IsOk());
  ASSERT_THAT(Upload("tone", "other", {.replace = true}), IsOk());
  EXPECT_THAT(FilesIn("uploads"), SizeIs(2));
  *handle = StateHandle();
  // Without anybody's asking.
  for (int i = 0; i < 1000 && FilesIn("uploads").size() > 1; ++i) {
    absl::SleepFor(absl::Milliseconds(10));
  }
  EXPECT_THAT(FilesIn("uploads"), SizeIs(1));
  EXPECT_EQ(RestartAndRestore().restored, 1);
  EXPECT_EQ(Info("tone").version, 2);
}

// As if the server had been killed between the two: the upload has its name, but the state file's
// last change is the one before.
TEST_F(AdapterRestoringTest, AnUploadThatTheStateFileDoesNotNameIsRemoved) {
  WriteAdapter("tone", 0.5f);
  ASSERT_THAT(Upload("kept", "tone"), IsOk());
  lifecycle_.reset();
  fs::copy(state_.Path("state.json"), state_.Path("before.json"));
  Restart(PersistentOptions());
  lifecycle_->Restore();
  ASSERT_THAT(Upload("team/orphan", "tone"), IsOk());
  const std::string orphan = Info("team/orphan").path;
  lifecycle_.reset();
  fs::rename(state_.Path("before.json"), state_.Path("state.json"));
  // Somebody else's, whatever their names are.
  const std::string name = fs::path(orphan).filename();
  fs::create_directories(state_.Path("uploads/" + name + "1/sub"));
  fs::create_directories(state_.Path("uploads/" + name + "2"));
  fs::create_directories(state_.Path("uploads/notes.2024-1"));
  state_.Write("uploads/" + name + "2/.hidden", "x");
  state_.Write("uploads/notes.2024-1/a.shira", "x");
  state_.Write("uploads/file.0123456789abcdef-0", "x");

  const AdapterLifecycle::RestoreReport report = RestartAndRestore();
  EXPECT_EQ(report.restored, 1);
  EXPECT_THAT(report.removed_uploads, ElementsAre(orphan));
  EXPECT_THAT(report.unused_uploads, SizeIs(3));
  EXPECT_FALSE(fs::exists(orphan));
  EXPECT_THAT(FilesIn("uploads"), SizeIs(5));
  EXPECT_THAT(lifecycle_->Acquire({{"kept", 1.0}}), IsOk());
}

// It may be elsewhere for a while: nobody can tell what belongs to an adapter.
TEST_F(AdapterRestoringTest, WithoutTheStateFileNoUploadIsRemoved) {
  WriteAdapter("tone", 0.5f);
  ASSERT_THAT(Upload("tone", "tone"), IsOk());
  lifecycle_.reset();
  fs::rename(state_.Path("state.json"), state_.Path("elsewhere"));
  const AdapterLifecycle::RestoreReport report = RestartAndRestore();
  EXPECT_THAT(report.unused_uploads, SizeIs(1));
  EXPECT_THAT(report.removed_uploads, IsEmpty());
  EXPECT_THAT(FilesIn("uploads"), SizeIs(1));
  lifecycle_.reset();
  fs::rename(state_.Path("elsewhere"), state_.Path("state.json"));
  EXPECT_EQ(RestartAndRestore().restored, 1);
}

TEST_F(AdapterRestoringTest, ClientsCannotLoadFromTheServersOwnFolders) {
  WriteAdapter("tone", 0.5f);
  ASSERT_THAT(Upload("tone", "tone"), IsOk());
  EXPECT_THAT(lifecycle_->Load("mine", Info("tone").path, ""),
              StatusIs(absl::StatusCode::kPermissionDenied));
}

}  // namespace
}  // namespace shira
