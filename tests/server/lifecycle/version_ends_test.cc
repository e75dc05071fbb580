// However a version ends, nothing of it stays: whoever holds what is outside of the life cycle is told
// so, its memory goes, its files go, and what others have been told survives.

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <thread>

#include "absl/synchronization/notification.h"
#include "base/atomic_file.h"
#include "base/mapped_file.h"
#include "base/strings.h"
#include "tests/server/lifecycle/lifecycle_fixture.h"

namespace shira {
namespace {

namespace fs = std::filesystem;
using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class VersionEndsTest : public testing::LifecycleFixture {
 protected:
  VersionEndsTest() {
    RestartWith([](AdapterLifecycle::Options&) {});
  }
  ~VersionEndsTest() override { lifecycle_.reset(); }

  void RestartWith(const std::function<void(AdapterLifecycle::Options&)>& change) {
    AdapterLifecycle::Options options = Options();
    options.state_file = state_.Path("state");
    options.uploads = UploadStore::Options{state_.Path("uploads")};
    options.on_gone = [this](const Sha256Digest& adapter) {
      absl::MutexLock lock(&gone_mutex_);
      gone_.insert(adapter);
    };
    change(options);
    Restart(std::move(options));
  }

  // "tone" in so many versions, of which those that a test does not keep are gone.
  void Replace(const std::string& name, float value) {
    const std::string folder = StrCat(name, "-", value);
    WriteAdapter(folder, value);
    ASSERT_THAT(lifecycle_->Load(name, folder, "", {.replace = true}), IsOk());
    digests_[lifecycle_->Get(name)->version] = lifecycle_->Get(name)->adapter->digest;
  }
  absl::StatusOr<AdapterLifecycle::LoadResult> Upload(const std::string& name, float value,
                                                      bool replace) {
    const std::string folder = StrCat("to-upload-", value);
    WriteAdapter(folder, value);
    UploadManifest manifest;
    manifest.adapter = name;
    std::string bytes;
    for (const char* file : {"adapter_config.json", "adapter_model.safetensors"}) {
      const auto text = ReadFile(root_.Path(StrCat(folder, "/", file)), 1 << 20);
      EXPECT_THAT(text, IsOk());
      manifest.files.push_back({file, static_cast<int64_t>(text->size()), ""});
      bytes += *text;
    }
    auto upload = lifecycle_->BeginUpload(std::move(manifest));
    EXPECT_THAT(upload, IsOk());
    EXPECT_THAT((*upload)->Append(bytes), IsOk());
    const absl::StatusOr<std::string> path = (*upload)->Commit();
    EXPECT_THAT(path, IsOk());
    return lifecycle_->LoadUpload(name, *path, "", {.replace = replace});
  }
  std::vector<std::string> Listed() const {
    std::vector<std::string> listed;
    for (const AdapterInfo& info : lifecycle_->List()) {
      listed.push_back(StrCat(info.name, "@", info.version, " ", AdapterStateName(info.state)));
    }
    return listed;
  }
  StateHandle MustAcquire(const std::string& name) {
    auto handle = lifecycle_->Acquire({AdapterSelectionTerm{name, 1.0}});
    EXPECT_THAT(handle, IsOk()) << name;
    return handle.ok() ? *std::move(handle) : StateHandle();
  }

  // That version 1 of "tone", and no other, is gone from everywhere.
  void ExpectOnlyTheFirstIsGone() {
    EXPECT_EQ(lifecycle_->Get("tone@1"), std::nullopt);
    const auto is_told = [this] {
      gone_mutex_.AssertHeld();
      return !gone_.empty();
    };
    absl::MutexLock lock(&gone_mutex_);
    gone_mutex_.Await(absl::Condition(&is_told));
    EXPECT_THAT(gone_, UnorderedElementsAre(digests_[1]));
  }

  const testing::TempFolder state_;
  std::map<int64_t, Sha256Digest> digests_;  // by version
  absl::Mutex gone_mutex_;
  std::set<Sha256Digest> gone_ ABSL_GUARDED_BY(gone_mutex_);
};

// ---- Ways to end --------------------------------------------------------------------------------

TEST_F(VersionEndsTest, Replaced) {
  Replace("tone", 1.0f);
  Replace("tone", 2.0f);
  ExpectOnlyTheFirstIsGone();
}

TEST_F(VersionEndsTest, ReplacedUnderARequest) {
  Replace("tone", 1.0f);
  {
    const StateHandle running = MustAcquire("tone");
    Replace("tone", 2.0f);
    EXPECT_THAT(Listed(), ElementsAre("tone@1 UNLOADING", "tone@2 READY"));
  }
  ExpectOnlyTheFirstIsGone();
}

TEST_F(VersionEndsTest, Unloaded) {
  Replace("tone", 1.0f);
  ASSERT_THAT(Unload("tone"), IsOk());
  absl::MutexLock lock(&gone_mutex_);
  EXPECT_THAT(gone_, UnorderedElementsAre(digests_[1]));  // before it returned
}

TEST_F(VersionEndsTest, AliasDeleted) {
  Replace("tone", 1.0f);
  ASSERT_THAT(lifecycle_->SetAlias("prod", "tone"), IsOk());
  Replace("tone", 2.0f);
  ASSERT_THAT(lifecycle_->DeleteAlias("prod"), IsOk());
  ExpectOnlyTheFirstIsGone();
}

TEST_F(VersionEndsTest, AliasRolledBack) {
  MustLoad("other", 9.0f);
  Replace("tone", 1.0f);
  ASSERT_THAT(lifecycle_->SetAlias("prod", "other"), IsOk());
  ASSERT_THAT(lifecycle_->SetAlias("prod", "tone"), IsOk());
  Replace("tone", 2.0f);
  ASSERT_THAT(lifecycle_->RollbackAlias("prod"), IsOk());
  ExpectOnlyTheFirstIsGone();
}

TEST_F(VersionEndsTest, OutOfAnAliasHistory) {
  MustLoad("even", 8.0f);
  MustLoad("odd", 9.0f);
  Replace("tone", 1.0f);
  ASSERT_THAT(lifecycle_->SetAlias("prod", "tone"), IsOk());
  Replace("tone", 2.0f);
  for (size_t i = 0; i <= kMaxAliasHistory; ++i) {
    ASSERT_THAT(lifecycle_->SetAlias("prod", i % 2 == 0 ? "even" : "odd"), IsOk());
  }
  ExpectOnlyTheFirstIsGone();
}

TEST_F(VersionEndsTest, Unpinned) {
  Replace("tone", 1.0f);
  ASSERT_THAT(lifecycle_->SetAlias("prod", "tone"), IsOk());
  Replace("tone", 2.0f);
  ASSERT_THAT(lifecycle_->PinInMemory("tone@1"), IsOk());
  ASSERT_THAT(lifecycle_->DeleteAlias("prod"), IsOk());
  ASSERT_THAT(lifecycle_->Unpin("tone@1"), IsOk());
  ExpectOnlyTheFirstIsGone();
}

TEST_F(VersionEndsTest, NoDefaultAnyMore) {
  Replace("tone", 1.0f);
  ASSERT_THAT(lifecycle_->SetDefault({{"tone@1", 1.0}}), IsOk());
  Replace("tone", 2.0f);
  ASSERT_THAT(lifecycle_->SetDefault({}), IsOk());
  ExpectOnlyTheFirstIsGone();
}

// Another adapter of the default was replaced in between, so that nothing holds the
// default's state any more.
TEST_F(VersionEndsTest, NoDefaultAnyMoreAfterAnotherPartOfItWasReplaced) {
  Replace("tone", 1.0f);
  MustLoad("other", 8.0f);
  ASSERT_THAT(lifecycle_->SetDefault({{"tone@1", 0.5}, {"other", 0.5}}), IsOk());
  Replace("tone", 2.0f);
  WriteAdapter("other-2", 9.0f);
  const Sha256Digest other = Info("other").adapter->digest;
  ASSERT_THAT(lifecycle_->Load("other", "other-2", "", {.replace = true}), IsOk());
  ASSERT_THAT(lifecycle_->SetDefault({}), IsOk());
  EXPECT_THAT(Listed(), ElementsAre("other@2 READY", "tone@2 READY"));
  const auto is_told = [this] {
    gone_mutex_.AssertHeld();
    return gone_.size() >= 2;
  };
  absl::MutexLock lock(&gone_mutex_);
  gone_mutex_.Await(absl::Condition(&is_told));
  EXPECT_THAT(gone_, UnorderedElementsAre(digests_[1], other));
}

TEST_F(VersionEndsTest, NoDefaultAnyMoreAfterARestart) {
  Replace("tone", 1.0f);
  ASSERT_THAT(lifecycle_->SetDefault({{"tone@1", 1.0}}), IsOk());
  Replace("tone", 2.0f);
  RestartWith([](AdapterLifecycle::Options&) {});
  lifecycle_->Restore();
  EXPECT_THAT(Listed(), ElementsAre("tone@1 READY", "tone@2 READY"));
  ASSERT_THAT(lifecycle_->SetDefault({}), IsOk());
  ExpectOnlyTheFirstIsGone();
}

TEST_F(VersionEndsTest, AnUnloadGaveUpWhenNothingKeptItAnyMore) {
  Replace("tone", 1.0f);
  ASSERT_THAT(lifecycle_->SetAlias("prod", "tone"), IsOk());
  Replace("tone", 2.0f);
  ASSERT_THAT(lifecycle_->SetAlias("prod", "tone"), IsOk());  // its history keeps version 1
  {
    const StateHandle running = MustAcquire("tone@1");
    const absl::Status status = lifecycle_->Unload(
        "tone@1", SteadyNow() + absl::Milliseconds(10),
        [&](const AdapterInfo&) { EXPECT_THAT(lifecycle_->DeleteAlias("prod"), IsOk()); });
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kDeadlineExceeded));
    EXPECT_THAT(Listed(), ElementsAre("tone@1 UNLOADING", "tone@2 READY"));
  }
  ExpectOnlyTheFirstIsGone();
}

TEST_F(VersionEndsTest, TheLastOneOfSeveralWithThisContent) {
  Replace("tone", 1.0f);
  WriteAdapter("copy", 1.0f);
  ASSERT_THAT(Load("copy"), IsOk());
  Replace("tone", 2.0f);
  ASSERT_THAT(Unload("copy"), IsOk());
  ExpectOnlyTheFirstIsGone();
}

TEST_F(VersionEndsTest, WhatAnotherNameHasIsNotGone) {
  Replace("tone", 1.0f);
  WriteAdapter("copy", 1.0f);
  ASSERT_THAT(Load("copy"), IsOk());
  MustLoad("other", 8.0f);
  Replace("tone", 2.0f);
  ASSERT_THAT(Unload("other"), IsOk());  // waits for whatever is gone
  absl::MutexLock lock(&gone_mutex_);
  EXPECT_FALSE(gone_.contains(digests_[1]));
}

// While a request of the default compiled its state, the default's adapter was replaced.
TEST_F(VersionEndsTest, TheDefaultHoldsNothingThatItDoesNotMeanAnyMore) {
  Replace("tone", 1.0f);
  ASSERT_THAT(lifecycle_->SetDefault({{"tone", 0.5}}), IsOk());
  RestartWith([](AdapterLifecycle::Options&) {});
  lifecycle_->Restore();  // so that the default's state has to be compiled
  std::atomic<bool> first = true;
  SetCompileHook([&] {
    if (first.exchange(false)) Replace("tone", 2.0f);
  });
  { ASSERT_OK_AND_ASSIGN(const StateHandle handle, lifecycle_->AcquireDefault()); }
  SetCompileHook(nullptr);
  ExpectOnlyTheFirstIsGone();
  { ASSERT_OK_AND_ASSIGN(const StateHandle handle, lifecycle_->AcquireDefault()); }
  ASSERT_THAT(lifecycle_->SetDefault({}), IsOk());
  ASSERT_THAT(Unload("tone"), IsOk());
  EXPECT_EQ(lifecycle_->memory_in_use_bytes(), 0);
}

// ---- Unloads that do not come to their end ------------------------------------------------------

TEST_F(VersionEndsTest, AnUnloadWhoseCallerGoesStops) {
  Replace("tone", 1.0f);
  const StateHandle running = MustAcquire("tone");
  std::atomic<bool> cancelled = false;
  absl::Notification waiting;
  std::thread caller([&] {
    EXPECT_THAT(
        lifecycle_->Unload(
            "tone", SteadyTime::InfiniteFuture(), [&](const AdapterInfo&) { waiting.Notify(); },
            [&] { return cancelled.load(); }),
        StatusIs(absl::StatusCode::kCancelled, HasSubstr("stays loaded")));
  });
  waiting.WaitForNotification();
  EXPECT_THAT(Listed(), ElementsAre("tone@1 UNLOADING"));
  cancelled = true;
  caller.join();
  EXPECT_THAT(Listed(), ElementsAre("tone@1 READY"));
  MustAcquire("tone");
}

TEST_F(VersionEndsTest, AnUnloadThatNeedNotWaitDoesNotAskForItsCaller) {
  Replace("tone", 1.0f);
  EXPECT_THAT(
      lifecycle_->Unload(
          "tone", SteadyTime::InfiniteFuture(), [](const AdapterInfo&) {}, [] { return true; }),
      IsOk());
}

// ---- Versions that are kept ---------------------------------------------------------------------

TEST_F(VersionEndsTest, UploadsBeforeTheNewestAreKeptToGoBackTo) {
  RestartWith([](AdapterLifecycle::Options& options) { options.keep_versions = 1; });
  ASSERT_THAT(Upload("tone", 1.0f, false), IsOk());
  ASSERT_THAT(lifecycle_->SetAlias("prod", "tone"), IsOk());
  ASSERT_THAT(Upload("tone", 2.0f, true), IsOk());
  ASSERT_THAT(lifecycle_->DeleteAlias("prod"), IsOk());
  EXPECT_THAT(Listed(), ElementsAre("tone@1 READY", "tone@2 READY"));
  EXPECT_EQ(MustAcquire("tone").adapters()[0].version, 2);
  EXPECT_EQ(MustAcquire("tone@1").adapters()[0].version, 1);
  ASSERT_THAT(Upload("tone", 3.0f, true), IsOk());
  EXPECT_THAT(Listed(), ElementsAre("tone@2 READY", "tone@3 READY"));
  EXPECT_EQ(lifecycle_->uploads()->List().size(), 2u);

  RestartWith([](AdapterLifecycle::Options& options) { options.keep_versions = 1; });
  lifecycle_->Restore();
  EXPECT_THAT(Listed(), ElementsAre("tone@2 READY", "tone@3 READY"));
  ASSERT_THAT(lifecycle_->SetAlias("prod", "tone@2"), IsOk());
  // The name goes back when the newest goes.
  ASSERT_THAT(Unload("tone@3"), IsOk());
  EXPECT_EQ(MustAcquire("tone").adapters()[0].version, 2);
}

TEST_F(VersionEndsTest, KeptVersionsGoWhenTheirRoomIsNeeded) {
  RestartWith([](AdapterLifecycle::Options& options) { options.keep_versions = 1; });
  ASSERT_THAT(Upload("a", 1.0f, false), IsOk());
  const int64_t one = lifecycle_->uploads()->in_use_bytes();
  RestartWith([&](AdapterLifecycle::Options& options) {
    options.keep_versions = 1;
    options.uploads->quota_bytes = 4 * one + one / 2;
  });
  lifecycle_->Restore();
  ASSERT_THAT(Upload("a", 2.0f, true), IsOk());
  ASSERT_THAT(Upload("b", 3.0f, true), IsOk());
  ASSERT_THAT(Upload("b", 4.0f, true), IsOk());
  EXPECT_THAT(Listed(), ElementsAre("a@1 READY", "a@2 READY", "b@1 READY", "b@2 READY"));
  MustAcquire("a@1");  // so that b@1 is the one that was used least recently
  ASSERT_THAT(Upload("c", 5.0f, true), IsOk());
  EXPECT_THAT(Listed(), ElementsAre("a@1 READY", "a@2 READY", "b@2 READY", "c@1 READY"));
  ASSERT_THAT(lifecycle_->SetAlias("prod", "a@1"), IsOk());
  EXPECT_THAT(lifecycle_->BeginUpload({"d", {{"adapter_config.json", one, ""}}}),
              StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST_F(VersionEndsTest, KeptVersionsGoWhenThereAreTooManyAdapters) {
  RestartWith([](AdapterLifecycle::Options& options) {
    options.keep_versions = 1;
    options.max_adapters = 2;
  });
  for (const float value : {1.0f, 2.0f}) ASSERT_THAT(Upload("a", value, true), IsOk());
  MustLoad("b", 3.0f);
  EXPECT_THAT(Listed(), ElementsAre("a@2 READY", "b@1 READY"));
}

TEST_F(VersionEndsTest, FilesOfOthersAreNotKeptToGoBackTo) {
  RestartWith([](AdapterLifecycle::Options& options) { options.keep_versions = 3; });
  Replace("tone", 1.0f);
  Replace("tone", 2.0f);
  EXPECT_THAT(Listed(), ElementsAre("tone@2 READY"));
}

TEST_F(VersionEndsTest, ARestartThatKeepsFewerLetsTheOthersGo) {
  RestartWith([](AdapterLifecycle::Options& options) { options.keep_versions = 2; });
  for (const float value : {1.0f, 2.0f, 3.0f}) {
    ASSERT_THAT(Upload("tone", value, true), IsOk());
  }
  EXPECT_EQ(Listed().size(), 3u);
  RestartWith([](AdapterLifecycle::Options&) {});
  lifecycle_->Restore();
  EXPECT_THAT(Listed(), ElementsAre("tone@3 READY"));
  EXPECT_EQ(lifecycle_->uploads()->List().size(), 1u);
}

TEST_F(VersionEndsTest, UnloadingANameTakesTheKeptOnesToo) {
  RestartWith([](AdapterLifecycle::Options& options) { options.keep_versions = 2; });
  for (const float value : {1.0f, 2.0f}) ASSERT_THAT(Upload("tone", value, true), IsOk());
  ASSERT_THAT(Unload("tone"), IsOk());
  EXPECT_THAT(Listed(), IsEmpty());
  EXPECT_THAT(lifecycle_->uploads()->List(), IsEmpty());
}

// ---- Names --------------------------------------------------------------------------------------

TEST_F(VersionEndsTest, NamesThatAreGoneLeaveTheStateFile) {
  const auto without_the_disk = [](AdapterLifecycle::Options& options) {
    options.write_state_file = [](const std::string& path, std::string_view text) {
      std::ofstream(path) << text;
      return absl::OkStatus();
    };
  };
  RestartWith(without_the_disk);
  MustLoad("tone", 0.5f);
  const auto name_of = [](size_t i) { return StrCat("job-", i, "-", std::string(100, 'x')); };
  for (size_t i = 0; i < VersionNumbers::kMaxGoneNames + 10; ++i) {
    ASSERT_THAT(lifecycle_->Load(name_of(i), "tone", ""), IsOk());
    ASSERT_THAT(Unload(name_of(i)), IsOk());
  }
  EXPECT_LT(fs::file_size(state_.Path("state")), 150 * (VersionNumbers::kMaxGoneNames + 10));
  EXPECT_EQ(ReadStateFile(state_.Path("state"))->value().versions.last.size(),
            VersionNumbers::kMaxGoneNames + 1);
  for (int64_t version = 2; version <= 3; ++version) {  // 1 was used
    ASSERT_OK_AND_ASSIGN(const AdapterLifecycle::LoadResult again,
                         lifecycle_->Load(name_of(0), "tone", ""));
    EXPECT_EQ(again.info.version, version);
    ASSERT_THAT(Unload(name_of(0)), IsOk());
    RestartWith(without_the_disk);
    lifecycle_->Restore();
  }
}

TEST_F(VersionEndsTest, ThereAreAsManyAliasesAsAdaptersAtMost) {
  RestartWith([](AdapterLifecycle::Options& options) { options.max_adapters = 2; });
  MustLoad("tone", 0.5f);
  ASSERT_THAT(lifecycle_->SetAlias("a", "tone"), IsOk());
  ASSERT_THAT(lifecycle_->SetAlias("b", "tone"), IsOk());
  EXPECT_THAT(lifecycle_->SetAlias("c", "tone"),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("2 aliases")));
  EXPECT_THAT(lifecycle_->SetAlias("b", "tone"), IsOk());
  ASSERT_THAT(lifecycle_->DeleteAlias("a"), IsOk());
  EXPECT_THAT(lifecycle_->SetAlias("c", "tone"), IsOk());
}

// ---- What others are told -----------------------------------------------------------------------

// Each case changes something whose saving takes long; then somebody else finds it changed.
class AcknowledgedTest : public VersionEndsTest {
 protected:
  void Test(const std::function<void()>& change, const std::function<void()>& find) {
    absl::Notification saving;
    absl::Notification found;
    std::atomic<bool> is_slow = false;
    std::atomic<bool> found_before_saved = false;
    RestartWith([&](AdapterLifecycle::Options& options) {
      options.write_state_file = [&](const std::string& path, std::string_view text) {
        if (is_slow.exchange(false)) {
          saving.Notify();
          found_before_saved = found.WaitForNotificationWithTimeout(absl::Milliseconds(30));
        }
        return WriteFileAtomically(path, text);
      };
    });
    lifecycle_->Restore();
    MustLoad("first", 4.0f);
    WriteAdapter("tone", 0.5f);
    is_slow = true;
    std::thread other([&] { change(); });
    saving.WaitForNotification();
    find();
    found.Notify();
    other.join();
    EXPECT_FALSE(found_before_saved);
  }
};

TEST_F(AcknowledgedTest, ALoad) {
  const auto load = [&] { EXPECT_THAT(Load("tone"), IsOk()); };
  Test(load, [&] { EXPECT_TRUE(lifecycle_->Load("tone", "tone", "")->already_loaded); });
}

TEST_F(AcknowledgedTest, ABlend) {
  const auto blend = [&] {
    return lifecycle_->CreateBlend("mix", {AdapterSelectionTerm{"first", 0.5}}, {FusionRule::kSum},
                                   "");
  };
  Test([&] { EXPECT_THAT(blend(), IsOk()); }, [&] { EXPECT_TRUE(blend()->already_created); });
}

TEST_F(AcknowledgedTest, AnUnload) {
  Test([&] { EXPECT_THAT(Unload("first"), IsOk()); },
       [&] { EXPECT_THAT(Unload("first"), StatusIs(absl::StatusCode::kNotFound)); });
}

TEST_F(AcknowledgedTest, AnAlias) {
  Test([&] { EXPECT_THAT(lifecycle_->SetAlias("prod", "first"), IsOk()); },
       [&] {
         EXPECT_THAT(lifecycle_->Load("prod", "tone", ""),
                     StatusIs(absl::StatusCode::kAlreadyExists));
       });
}

TEST_F(AcknowledgedTest, APin) {
  Test([&] { EXPECT_THAT(lifecycle_->PinInMemory("first"), IsOk()); },
       [&] { EXPECT_TRUE(lifecycle_->PinInMemory("first")->pinned); });
}

TEST_F(AcknowledgedTest, TheDefault) {
  Test(
      [&] {
        EXPECT_THAT(lifecycle_->SetDefault({{"first", 1.0}}), IsOk());
      },
      [&] { EXPECT_THAT(Unload("first"), StatusIs(absl::StatusCode::kFailedPrecondition)); });
}

}  // namespace
}  // namespace shira
