#include "server/lifecycle/adapter_lifecycle.h"

#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <limits>
#include <thread>

#include "absl/synchronization/notification.h"
#include "base/steady_clock.h"
#include "tests/server/lifecycle/lifecycle_fixture.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

class AdapterLifecycleTest : public testing::LifecycleFixture {};

// ---- Loading ------------------------------------------------------------------------------------

TEST_F(AdapterLifecycleTest, ALoadedAdapterIsReadyAndDescribed) {
  WriteAdapter("tone", 0.5f);
  const absl::Time before = absl::Now();
  ASSERT_OK_AND_ASSIGN(const AdapterLifecycle::LoadResult result,
                       lifecycle_->Load("my/tone", "tone", ""));
  EXPECT_FALSE(result.already_loaded);
  for (const AdapterInfo& info : {result.info, Info("my/tone")}) {
    EXPECT_EQ(info.name, "my/tone");
    EXPECT_EQ(info.version, 1);
    EXPECT_EQ(info.state, AdapterState::kReady);
    EXPECT_EQ(info.residency, AdapterResidency::kInMemory);
    EXPECT_EQ(info.path, root_.Path("tone"));
    EXPECT_EQ(info.error, "");
    ASSERT_NE(info.adapter, nullptr);
    EXPECT_EQ(info.adapter->entries, 4);
    EXPECT_EQ(info.adapter->parameter_count, 2);
    EXPECT_EQ(info.adapter->format, "peft_shira");
    EXPECT_EQ(info.adapter->base_model, "./somewhere");
    EXPECT_GT(info.memory_bytes, 4 * (2 + 2 + 2 + 4));
    EXPECT_EQ(info.running_requests, 0);
    EXPECT_GE(info.load_time, before);
    EXPECT_GT(info.load_duration, absl::ZeroDuration());
    EXPECT_LT(info.load_duration, absl::Minutes(1));
    EXPECT_EQ(info.last_use, absl::InfinitePast());
  }
}

TEST_F(AdapterLifecycleTest, LoadingCompilesSoThatAcquiringNeedsNot) {
  MustLoad("tone", 0.5f);
  std::atomic<int> compilations = 0;
  SetCompileHook([&] { ++compilations; });
  ASSERT_OK_AND_ASSIGN(const StateHandle handle, lifecycle_->Acquire({{"tone", 1.0}}));
  EXPECT_EQ(compilations, 0);
  EXPECT_EQ(handle.state()->entries(), 4);
}

TEST_F(AdapterLifecycleTest, LoadingTheSameContentAgainIsOk) {
  MustLoad("tone", 0.5f);
  WriteAdapter("copy", 0.5f);
  ASSERT_OK_AND_ASSIGN(const AdapterLifecycle::LoadResult result,
                       lifecycle_->Load("tone", "copy", Info("tone").adapter->digest.Hex()));
  EXPECT_TRUE(result.already_loaded);
  EXPECT_EQ(result.info.version, 1);
  EXPECT_EQ(result.info.path, root_.Path("tone"));
}

TEST_F(AdapterLifecycleTest, OtherContentUnderALoadedNameIsRefused) {
  MustLoad("tone", 0.5f);
  WriteAdapter("other", 0.25f);
  EXPECT_THAT(lifecycle_->Load("tone", "other", ""),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("unload it first")));
  EXPECT_EQ(Info("tone").state, AdapterState::kReady);
}

TEST_F(AdapterLifecycleTest, AFileThatBrokeOnDiskLeavesTheLoadedAdapterAlone) {
  MustLoad("tone", 0.5f);
  root_.Write("tone/adapter_model.safetensors", "garbage");
  EXPECT_THAT(Load("tone"), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(Info("tone").state, AdapterState::kReady);
  EXPECT_THAT(lifecycle_->Acquire({{"tone", 1.0}}), IsOk());
}

TEST_F(AdapterLifecycleTest, ChecksTheExpectedDigest) {
  WriteAdapter("tone", 0.5f);
  EXPECT_THAT(lifecycle_->Load("tone", "tone", std::string(64, 'a')),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr(std::string(64, 'a'))));
  EXPECT_EQ(Info("tone").state, AdapterState::kFailed);
  ASSERT_THAT(Load("tone"), IsOk());
  std::string upper = Info("tone").adapter->digest.Hex();
  for (char& c : upper) c = static_cast<char>(std::toupper(c));
  EXPECT_THAT(lifecycle_->Load("tone", "tone", upper), IsOk());
}

TEST_F(AdapterLifecycleTest, ErrorsInTheArgumentsChangeNothing) {
  WriteAdapter("tone", 0.5f);
  EXPECT_THAT(lifecycle_->Load("base", "tone", ""), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(lifecycle_->Load("-", "tone", ""), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(lifecycle_->Load("tone", "tone", "abc"),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(lifecycle_->Load("tone", "tone", std::string(64, 'g')),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(lifecycle_->Load("tone", "", ""), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(lifecycle_->Load("tone", "../x", ""), StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(lifecycle_->Load("tone", "absent", ""), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(lifecycle_->List(), IsEmpty());
}

TEST_F(AdapterLifecycleTest, RefusesLinksOutOfTheRoot) {
  const testing::TempFolder outside;
  WriteAdapter("tone", 0.5f);
  std::filesystem::rename(root_.Path("tone"), outside.Path("tone"));
  std::filesystem::create_directory_symlink(outside.Path("tone"), root_.Path("tone"));
  EXPECT_THAT(Load("tone"), StatusIs(absl::StatusCode::kPermissionDenied));

  WriteAdapter("file", 0.5f);
  std::filesystem::remove(root_.Path("file/adapter_model.safetensors"));
  std::filesystem::create_symlink(outside.Path("tone/adapter_model.safetensors"),
                                  root_.Path("file/adapter_model.safetensors"));
  EXPECT_THAT(Load("file"), StatusIs(absl::StatusCode::kPermissionDenied));
}

TEST_F(AdapterLifecycleTest, APipeInTheFolderIsRefusedWithoutWaitingForItsWriter) {
  WriteAdapter("tone", 0.5f);
  std::filesystem::remove(root_.Path("tone/adapter_model.safetensors"));
  ASSERT_EQ(mkfifo(root_.Path("tone/adapter_model.safetensors").c_str(), 0600), 0);
  EXPECT_THAT(Load("tone"), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(AdapterLifecycleTest, AFailedAdapterKeepsItsReasonUntilItIsLoadedAgain) {
  WriteAdapter("tone", 0.5f);
  root_.Write("tone/adapter_model.safetensors", "garbage");
  EXPECT_THAT(Load("tone"), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(Info("tone").state, AdapterState::kFailed);
  EXPECT_EQ(Info("tone").residency, AdapterResidency::kOnDisk);
  EXPECT_EQ(Info("tone").version, 0);
  EXPECT_THAT(Info("tone").error, HasSubstr("adapter_model.safetensors"));
  EXPECT_THAT(lifecycle_->Acquire({{"tone", 1.0}}),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("FAILED"), HasSubstr("adapter_model.safetensors"))));

  MustLoad("tone", 0.5f);
  EXPECT_EQ(Info("tone").error, "");
  EXPECT_EQ(Info("tone").version, 1);
}

TEST_F(AdapterLifecycleTest, AFailedAdapterCanFailAgainAndBeUnloaded) {
  WriteAdapter("tone", 0.5f);
  root_.Write("tone/adapter_model.safetensors", "garbage");
  EXPECT_FALSE(Load("tone").ok());
  EXPECT_FALSE(Load("tone").ok());
  EXPECT_EQ(Info("tone").state, AdapterState::kFailed);
  EXPECT_THAT(Unload("tone"), IsOk());
  EXPECT_THAT(lifecycle_->List(), IsEmpty());
}

TEST_F(AdapterLifecycleTest, LimitsTheNumberOfAdapters) {
  Restart(int64_t{1} << 30, /*max_adapters=*/1);
  MustLoad("a", 0.5f);
  WriteAdapter("b", 0.25f);
  EXPECT_THAT(Load("b"), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(lifecycle_->List().size(), 1u);
  EXPECT_THAT(Load("a"), IsOk());
  EXPECT_THAT(Unload("a"), IsOk());
  EXPECT_THAT(Load("b"), IsOk());
}

TEST_F(AdapterLifecycleTest, ListsInTheOrderOfNames) {
  MustLoad("b", 0.5f);
  MustLoad("a", 0.25f);
  MustLoad("c", 0.125f);
  EXPECT_THAT(lifecycle_->List(),
              ElementsAre(Field(&AdapterInfo::name, "a"), Field(&AdapterInfo::name, "b"),
                          Field(&AdapterInfo::name, "c")));
  EXPECT_EQ(lifecycle_->Get("d"), std::nullopt);
}

TEST_F(AdapterLifecycleTest, AVersionIsNeverUsedTwice) {
  MustLoad("tone", 0.5f);
  ASSERT_THAT(Unload("tone"), IsOk());
  MustLoad("tone", 0.25f);
  EXPECT_EQ(Info("tone").version, 2);
}

TEST_F(AdapterLifecycleTest, RefusesRootsThatAreNoFolders) {
  EXPECT_THAT(
      AdapterLifecycle::Create({.roots = {root_.Path("absent")}}, reader_, engine_).status(),
      StatusIs(absl::StatusCode::kInvalidArgument));
}

// ---- Concurrent loading -------------------------------------------------------------------------

TEST_F(AdapterLifecycleTest, WhileANameLoadsOthersOnItAreAborted) {
  WriteAdapter("tone", 0.5f);
  absl::Notification compiling;
  absl::Notification go_on;
  SetCompileHook([&] {
    if (!compiling.HasBeenNotified()) compiling.Notify();
    go_on.WaitForNotification();
  });
  WriteAdapter("elsewhere", 0.25f);
  std::thread loader([&] { EXPECT_THAT(Load("tone"), IsOk()); });
  compiling.WaitForNotification();
  EXPECT_EQ(Info("tone").state, AdapterState::kLoading);
  EXPECT_EQ(Info("tone").version, 0);
  EXPECT_THAT(lifecycle_->Load("tone", "elsewhere", ""),
              StatusIs(absl::StatusCode::kAborted, HasSubstr("being loaded")));
  EXPECT_THAT(Unload("tone"), StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(lifecycle_->Acquire({{"tone", 1.0}}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("LOADING")));
  go_on.Notify();
  loader.join();
  EXPECT_EQ(Info("tone").state, AdapterState::kReady);
}

TEST_F(AdapterLifecycleTest, DifferentNamesLoadInParallel) { ExpectTwoLoadsMeetWhileCompiling(); }

TEST_F(AdapterLifecycleTest, OneOfThoseWhoWantABlendCompilesIt) {
  MustLoad("a", 0.5f);
  MustLoad("b", 0.25f);
  std::atomic<int> at_once = 0;
  std::atomic<int> most_at_once = 0;
  SetCompileHook([&] {
    most_at_once = std::max<int>(most_at_once, ++at_once);
    absl::SleepFor(absl::Milliseconds(20));
    --at_once;
  });
  std::vector<std::thread> threads;
  absl::Mutex mutex;
  std::vector<std::shared_ptr<const CompiledState>> states;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      auto handle = lifecycle_->Acquire({{"a", 1.0}, {"b", 0.5}});
      ASSERT_THAT(handle, IsOk());
      absl::MutexLock lock(&mutex);
      states.push_back(handle->state());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(most_at_once, 1);
  for (const auto& state : states) EXPECT_EQ(state, states.front());
}

// ---- Pins ---------------------------------------------------------------------------------------

TEST_F(AdapterLifecycleTest, ABlendIsOneStateHoweverItIsNamed) {
  MustLoad("a", 0.5f);
  MustLoad("b", 0.25f);
  ASSERT_OK_AND_ASSIGN(const StateHandle first, lifecycle_->Acquire({{"a", 1.0}, {"b", -0.5}}));
  ASSERT_OK_AND_ASSIGN(const StateHandle second, lifecycle_->Acquire({{"b", -0.5}, {"a", 1.0}}));
  EXPECT_EQ(first.state(), second.state());
  ASSERT_EQ(first.adapters().size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    const AdapterRef& ref = first.adapters()[i];
    const StateTerm& term = first.state()->key.terms()[i];
    EXPECT_EQ(ref.digest, term.adapter);
    EXPECT_EQ(ref.weight, term.weight);
    EXPECT_EQ(ref.weight, ref.name == "a" ? 1.0 : -0.5);
    EXPECT_EQ(ref.digest, Info(ref.name).adapter->digest);
    EXPECT_EQ(ref.version, 1);
  }
}

TEST_F(AdapterLifecycleTest, NoTermsAreTheBase) {
  ASSERT_OK_AND_ASSIGN(const StateHandle handle, lifecycle_->Acquire({}));
  EXPECT_EQ(handle.state(), engine_.base());
  EXPECT_THAT(handle.adapters(), IsEmpty());
}

TEST_F(AdapterLifecycleTest, RefusesSelectionsThatMakeNoSense) {
  MustLoad("a", 0.5f);
  MustLoad("b", 0.25f);
  WriteAdapter("twin", 0.5f);
  ASSERT_THAT(Load("twin"), IsOk());
  EXPECT_THAT(lifecycle_->Acquire({{"nobody", 1.0}}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("nobody")));
  EXPECT_THAT(lifecycle_->Acquire({{"a", 1.0}, {"b", 1.0}, {"a", 1.0}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'a' is named twice")));
  EXPECT_THAT(lifecycle_->Acquire({{"a", kNan}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("finite")));
  EXPECT_THAT(lifecycle_->Acquire({{"a", 1.0}, {"twin", 1.0}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("same content")));
  EXPECT_EQ(Info("a").running_requests, 0);
}

TEST_F(AdapterLifecycleTest, AStateThatCannotBeCompiledLeavesNoPin) {
  MustLoad("a", 0.5f);
  EXPECT_THAT(lifecycle_->Acquire({{"a", 1e300}}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(Info("a").running_requests, 0);
  EXPECT_THAT(Unload("a"), IsOk());
}

TEST_F(AdapterLifecycleTest, CountsRunningRequestsAndRemembersTheLastUse) {
  MustLoad("a", 0.5f);
  MustLoad("b", 0.25f);
  const absl::Time start = absl::Now();
  {
    ASSERT_OK_AND_ASSIGN(const StateHandle first, lifecycle_->Acquire({{"a", 1.0}}));
    ASSERT_OK_AND_ASSIGN(StateHandle second, lifecycle_->Acquire({{"a", 1.0}, {"b", 1.0}}));
    EXPECT_EQ(Info("a").running_requests, 2);
    EXPECT_EQ(Info("b").running_requests, 1);
    EXPECT_GE(Info("a").last_use, start);
    second = StateHandle();
    EXPECT_EQ(Info("a").running_requests, 1);
    EXPECT_EQ(Info("b").running_requests, 0);
  }
  EXPECT_EQ(Info("a").running_requests, 0);
  EXPECT_GE(Info("b").last_use, start);
}

TEST_F(AdapterLifecycleTest, ReportsWhatIsFused) {
  MustLoad("a", 0.5f);
  MustLoad("b", 0.25f);
  ASSERT_OK_AND_ASSIGN(const StateHandle handle, lifecycle_->Acquire({{"a", 2.0}}));
  engine_.Apply(handle.state());
  EXPECT_EQ(Info("a").residency, AdapterResidency::kFused);
  EXPECT_EQ(Info("b").residency, AdapterResidency::kInMemory);
  const std::vector<AdapterRef> refs = lifecycle_->Describe(engine_.resident()->key);
  ASSERT_EQ(refs.size(), 1u);
  EXPECT_EQ(refs[0].name, "a");
  EXPECT_EQ(refs[0].version, 1);
  EXPECT_EQ(refs[0].weight, 2.0);
  EXPECT_THAT(lifecycle_->Describe(engine_.base()->key), IsEmpty());
}

TEST_F(AdapterLifecycleTest, HandlesOutliveTheLifeCycle) {
  MustLoad("a", 0.5f);
  ASSERT_OK_AND_ASSIGN(StateHandle handle, lifecycle_->Acquire({{"a", 1.0}}));
  lifecycle_.reset();
  EXPECT_EQ(handle.state()->entries(), 4);
  handle = StateHandle();
}

// ---- The default state --------------------------------------------------------------------------

TEST_F(AdapterLifecycleTest, TheDefaultIsTheBaseUntilItIsSet) {
  MustLoad("a", 0.5f);
  ASSERT_OK_AND_ASSIGN(const StateHandle base, lifecycle_->AcquireDefault());
  EXPECT_EQ(base.state(), engine_.base());
  ASSERT_THAT(lifecycle_->SetDefault({{"a", 0.5}}), IsOk());
  EXPECT_EQ(Info("a").running_requests, 0);
  ASSERT_OK_AND_ASSIGN(const StateHandle handle, lifecycle_->AcquireDefault());
  EXPECT_EQ(Info("a").running_requests, 1);
  ASSERT_EQ(handle.adapters().size(), 1u);
  EXPECT_EQ(handle.adapters()[0].name, "a");
  EXPECT_EQ(handle.adapters()[0].weight, 0.5);
  EXPECT_EQ(lifecycle_->DefaultState().size(), 1u);
  ASSERT_THAT(lifecycle_->SetDefault({}), IsOk());
  EXPECT_THAT(lifecycle_->DefaultState(), IsEmpty());
}

TEST_F(AdapterLifecycleTest, AnAdapterOfTheDefaultCannotBeUnloaded) {
  MustLoad("a", 0.5f);
  MustLoad("b", 0.25f);
  ASSERT_THAT(lifecycle_->SetDefault({{"a", 1.0}, {"b", 1.0}}), IsOk());
  EXPECT_THAT(Unload("b"), StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("revert")));
  EXPECT_EQ(Info("b").state, AdapterState::kReady);
  ASSERT_THAT(lifecycle_->SetDefault({{"a", 1.0}}), IsOk());
  EXPECT_THAT(Unload("b"), IsOk());
}

TEST_F(AdapterLifecycleTest, AFailedSetDefaultKeepsTheOldOne) {
  MustLoad("a", 0.5f);
  ASSERT_THAT(lifecycle_->SetDefault({{"a", 1.0}}), IsOk());
  EXPECT_THAT(lifecycle_->SetDefault({{"nobody", 1.0}}), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ(lifecycle_->DefaultState().size(), 1u);
}

TEST_F(AdapterLifecycleTest, AnAdapterThatIsBeingUnloadedCannotBecomeTheDefault) {
  MustLoad("a", 0.5f);
  absl::Notification compiling;
  absl::Notification go_on;
  SetCompileHook([&] {
    if (!compiling.HasBeenNotified()) compiling.Notify();
    go_on.WaitForNotification();
  });
  // Pinned and compiling when the unloading begins.
  std::thread setter([&] {
    EXPECT_THAT(lifecycle_->SetDefault({{"a", 3.0}}),
                StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("UNLOADING")));
  });
  compiling.WaitForNotification();
  EXPECT_THAT(lifecycle_->Unload("a", SteadyTime::InfiniteFuture(),
                                 [&](const AdapterInfo&) { go_on.Notify(); }),
              IsOk());
  setter.join();
  EXPECT_THAT(lifecycle_->DefaultState(), IsEmpty());
}

// ---- Unloading ----------------------------------------------------------------------------------

TEST_F(AdapterLifecycleTest, UnloadingForgetsTheAdapter) {
  MustLoad("a", 0.5f);
  std::weak_ptr<const SparseAdapter> deltas = *lifecycle_->Deltas("a");
  EXPECT_FALSE(deltas.expired());
  EXPECT_THAT(Unload("a"), IsOk());
  EXPECT_TRUE(deltas.expired());
  EXPECT_EQ(lifecycle_->memory_in_use_bytes(), 0);
  EXPECT_THAT(Unload("a"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(lifecycle_->Acquire({{"a", 1.0}}), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(AdapterLifecycleTest, UnloadingWaitsForTheLastUser) {
  MustLoad("a", 0.5f);
  ASSERT_OK_AND_ASSIGN(StateHandle handle, lifecycle_->Acquire({{"a", 1.0}}));
  absl::Notification unloading;
  std::atomic<bool> unloaded = false;
  std::thread unloader([&] {
    EXPECT_THAT(lifecycle_->Unload("a", SteadyTime::InfiniteFuture(),
                                   [&](const AdapterInfo& info) {
                                     EXPECT_EQ(info.state, AdapterState::kUnloading);
                                     EXPECT_EQ(info.running_requests, 1);
                                     unloading.Notify();
                                   }),
                IsOk());
    unloaded = true;
  });
  unloading.WaitForNotification();
  EXPECT_EQ(Info("a").state, AdapterState::kUnloading);
  EXPECT_THAT(lifecycle_->Acquire({{"a", 1.0}}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("UNLOADING")));
  EXPECT_THAT(Load("a"), StatusIs(absl::StatusCode::kAborted, HasSubstr("being unloaded")));
  EXPECT_THAT(Unload("a"), StatusIs(absl::StatusCode::kAborted));
  EXPECT_FALSE(unloaded);
  EXPECT_EQ(handle.state()->entries(), 4);
  handle = StateHandle();
  unloader.join();
  EXPECT_THAT(lifecycle_->List(), IsEmpty());
}

TEST_F(AdapterLifecycleTest, AnUnloadingThatTimesOutLeavesTheAdapterReady) {
  MustLoad("a", 0.5f);
  ASSERT_OK_AND_ASSIGN(const StateHandle handle, lifecycle_->Acquire({{"a", 1.0}}));
  EXPECT_THAT(Unload("a", SteadyNow() + absl::Milliseconds(20)),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("1 requests")));
  EXPECT_EQ(Info("a").state, AdapterState::kReady);
  EXPECT_THAT(lifecycle_->Acquire({{"a", 1.0}}), IsOk());
}

TEST_F(AdapterLifecycleTest, TheCallbackMayEndTheUsersInsteadOfWaiting) {
  MustLoad("a", 0.5f);
  ASSERT_OK_AND_ASSIGN(StateHandle handle, lifecycle_->Acquire({{"a", 1.0}}));
  EXPECT_THAT(lifecycle_->Unload("a", SteadyNow() + absl::Minutes(1),
                                 [&](const AdapterInfo&) { handle = StateHandle(); }),
              IsOk());
}

TEST_F(AdapterLifecycleTest, AResidentStateOfAnUnloadedAdapterHasNoNames) {
  MustLoad("a", 0.5f);
  {
    ASSERT_OK_AND_ASSIGN(const StateHandle handle, lifecycle_->Acquire({{"a", 1.0}}));
    engine_.Apply(handle.state());
  }
  EXPECT_THAT(Unload("a"), IsOk());
  const std::vector<AdapterRef> refs = lifecycle_->Describe(engine_.resident()->key);
  ASSERT_EQ(refs.size(), 1u);
  EXPECT_EQ(refs[0].name, "");
  // What the weights still hold can be put back.
  engine_.Apply(engine_.base());
  EXPECT_TRUE(engine_.Verify().matches_base);
}

}  // namespace
}  // namespace shira
