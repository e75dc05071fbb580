// Versions, aliases and pins in memory: which content a name means, and how long an old one stays.

#include <filesystem>
#include <optional>
#include <thread>

#include "absl/synchronization/notification.h"
#include "base/steady_clock.h"
#include "base/strings.h"
#include "server/lifecycle/adapter_lifecycle.h"
#include "tests/server/lifecycle/lifecycle_fixture.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class AdapterVersionsTest : public testing::LifecycleFixture {
 protected:
  // Loads other content under the name.
  absl::StatusOr<AdapterLifecycle::LoadResult> Replace(const std::string& name, float value) {
    const std::string folder = name + std::to_string(++folders_);
    WriteAdapter(folder, value);
    return lifecycle_->Load(name, folder, "", {.replace = true});
  }
  StateHandle MustAcquire(const std::string& name) {
    auto handle = lifecycle_->Acquire({AdapterSelectionTerm{name, 1.0}});
    EXPECT_THAT(handle, IsOk()) << name;
    return handle.ok() ? *std::move(handle) : StateHandle();
  }
  int64_t VersionOf(const std::string& name) {
    const StateHandle handle = MustAcquire(name);
    return handle ? handle.adapters()[0].version : -1;
  }
  // "name@version STATE", in order.
  std::vector<std::string> Listed() const {
    std::vector<std::string> listed;
    for (const AdapterInfo& info : lifecycle_->List()) {
      listed.push_back(StrCat(info.name, "@", info.version, " ", AdapterStateName(info.state)));
    }
    return listed;
  }
  void ExpectASharedLoad() const {
    const absl::Time deadline = absl::Now() + absl::Seconds(30);
    while (lifecycle_->stats().shared_loads == 0 && absl::Now() < deadline) {
      absl::SleepFor(absl::Milliseconds(1));
    }
    EXPECT_EQ(lifecycle_->stats().shared_loads, 1);
  }

  int folders_ = 0;
};

// ---- Replacing ----------------------------------------------------------------------------------

TEST_F(AdapterVersionsTest, AReplacedVersionServesWhatItHasAndGoesWithTheLastOfIt) {
  MustLoad("tone", 0.5f);
  StateHandle first = MustAcquire("tone");
  StateHandle second = MustAcquire("tone");
  const Sha256Digest old_digest = first.adapters()[0].digest;
  ASSERT_OK_AND_ASSIGN(const auto replaced, Replace("tone", 0.25f));
  EXPECT_FALSE(replaced.already_loaded);
  EXPECT_EQ(replaced.info.version, 2);
  EXPECT_EQ(replaced.replaced, old_digest);
  EXPECT_THAT(Listed(), ElementsAre("tone@1 UNLOADING", "tone@2 READY"));

  // New uses get the new content under a key of its own: what was computed for the old one is found
  // by nobody who asks for the new one.
  const StateHandle newer = MustAcquire("tone");
  EXPECT_EQ(newer.adapters()[0].version, 2);
  EXPECT_NE(newer.adapters()[0].digest, old_digest);
  EXPECT_NE(newer.state()->key, first.state()->key);
  EXPECT_NE(newer.state()->key.digest(), first.state()->key.digest());
  EXPECT_THAT(lifecycle_->Acquire({{"tone@1", 1.0}}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("UNLOADING")));

  first = StateHandle();
  EXPECT_THAT(Listed(), ElementsAre("tone@1 UNLOADING", "tone@2 READY"));
  second = StateHandle();
  EXPECT_THAT(Listed(), ElementsAre("tone@2 READY"));
}

TEST_F(AdapterVersionsTest, AReplacedVersionThatNobodyUsesFreesItsMemoryAtOnce) {
  MustLoad("tone", 0.5f);
  const int64_t before = lifecycle_->memory_in_use_bytes();
  for (int i = 0; i < 5; ++i) ASSERT_THAT(Replace("tone", static_cast<float>(i)), IsOk());
  EXPECT_THAT(Listed(), ElementsAre("tone@6 READY"));
  EXPECT_EQ(lifecycle_->memory_in_use_bytes(), before);
}

TEST_F(AdapterVersionsTest, WithoutReplaceOtherContentIsRefusedAndEqualContentIsFound) {
  MustLoad("tone", 0.5f);
  WriteAdapter("other", 0.25f);
  EXPECT_THAT(lifecycle_->Load("tone", "other", ""), StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_EQ(VersionOf("tone"), 1);
  ASSERT_OK_AND_ASSIGN(const auto same, Replace("tone", 0.5f));
  EXPECT_TRUE(same.already_loaded);
  EXPECT_EQ(same.info.version, 1);
  EXPECT_EQ(same.replaced, std::nullopt);
}

TEST_F(AdapterVersionsTest, AFailedReplacementLeavesTheOldVersion) {
  MustLoad("tone", 0.5f);
  WriteAdapter("broken", 0.25f);
  root_.Write("broken/adapter_model.safetensors", "garbage");
  EXPECT_FALSE(lifecycle_->Load("tone", "broken", "", {.replace = true}).ok());
  EXPECT_THAT(Listed(), ElementsAre("tone@1 READY"));
  EXPECT_EQ(VersionOf("tone"), 1);
  EXPECT_EQ(lifecycle_->stats().failed_loads, 1);
}

TEST_F(AdapterVersionsTest, TheFormatCanBeDemanded) {
  WriteAdapter("tone", 0.5f);
  EXPECT_THAT(lifecycle_->Load("tone", "tone", "", {.format = "packed_shira"}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("found peft_shira")));
  EXPECT_THAT(lifecycle_->Load("tone", "tone", "", {.format = "peft_shira"}), IsOk());
}

TEST_F(AdapterVersionsTest, TheDefaultStateFollowsTheNewVersion) {
  MustLoad("tone", 0.5f);
  ASSERT_THAT(lifecycle_->SetDefault({{"tone", 1.0}}), IsOk());
  ASSERT_OK_AND_ASSIGN(StateHandle handle, lifecycle_->AcquireDefault());
  EXPECT_EQ(handle.adapters()[0].version, 1);
  handle = StateHandle();
  ASSERT_THAT(Replace("tone", 0.25f), IsOk());
  EXPECT_THAT(Listed(), ElementsAre("tone@2 READY"));
  ASSERT_OK_AND_ASSIGN(handle, lifecycle_->AcquireDefault());
  EXPECT_EQ(handle.adapters()[0].version, 2);
  EXPECT_EQ(lifecycle_->DefaultState()[0].version, 2);
}

TEST_F(AdapterVersionsTest, AVersionThatTheDefaultNamesStays) {
  MustLoad("tone", 0.5f);
  ASSERT_THAT(lifecycle_->SetDefault({{"tone@1", 1.0}}), IsOk());
  ASSERT_THAT(Replace("tone", 0.25f), IsOk());
  EXPECT_THAT(Listed(), ElementsAre("tone@1 READY", "tone@2 READY"));
  EXPECT_EQ(lifecycle_->AcquireDefault()->adapters()[0].version, 1);
  EXPECT_THAT(Unload("tone@1"), StatusIs(absl::StatusCode::kFailedPrecondition));
  ASSERT_THAT(lifecycle_->SetDefault({}), IsOk());
  EXPECT_THAT(Listed(), ElementsAre("tone@2 READY"));
}

TEST_F(AdapterVersionsTest, VersionsAreNamedWithAnAtSign) {
  MustLoad("tone", 0.5f);
  EXPECT_EQ(VersionOf("tone@1"), 1);
  EXPECT_EQ(lifecycle_->Get("tone@1")->version, 1);
  EXPECT_THAT(lifecycle_->Acquire({{"tone@2", 1.0}}), StatusIs(absl::StatusCode::kNotFound));
  for (const char* bad : {"tone@", "tone@0", "tone@-1", "tone@x", "tone@1x", "tone@1@2",
                          "tone@99999999999999999999"}) {
    EXPECT_THAT(lifecycle_->Acquire({{bad, 1.0}}), StatusIs(absl::StatusCode::kInvalidArgument))
        << bad;
  }
  EXPECT_THAT(lifecycle_->Acquire({{"tone", 1.0}, {"tone@1", 1.0}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("twice")));
}

// ---- Unloading ----------------------------------------------------------------------------------

TEST_F(AdapterVersionsTest, UnloadingANameWaitsForAllOfItsVersions) {
  MustLoad("tone", 0.5f);
  std::optional<StateHandle> old = MustAcquire("tone");
  ASSERT_THAT(Replace("tone", 0.25f), IsOk());
  EXPECT_THAT(Unload("tone", SteadyNow() + absl::Milliseconds(20)),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_THAT(Listed(), ElementsAre("tone@1 UNLOADING", "tone@2 READY"));

  std::vector<int64_t> told;
  EXPECT_THAT(lifecycle_->Unload("tone", SteadyTime::InfiniteFuture(),
                                 [&](const AdapterInfo& info) {
                                   told.push_back(info.version);
                                   old.reset();
                                 }),
              IsOk());
  EXPECT_THAT(told, ElementsAre(1, 2));
  EXPECT_THAT(Listed(), IsEmpty());
  EXPECT_EQ(lifecycle_->memory_in_use_bytes(), 0);
}

TEST_F(AdapterVersionsTest, UnloadingTheNewestVersionBringsTheOneBeforeBack) {
  MustLoad("tone", 0.5f);
  ASSERT_THAT(lifecycle_->SetAlias("prod", "tone"), IsOk());
  ASSERT_THAT(Replace("tone", 0.25f), IsOk());
  EXPECT_EQ(VersionOf("tone"), 2);
  EXPECT_THAT(Unload("tone@2"), IsOk());
  EXPECT_EQ(VersionOf("tone"), 1);
  ASSERT_THAT(Replace("tone", 0.125f), IsOk());
  EXPECT_EQ(VersionOf("tone"), 3);
}

// ---- Sharing ------------------------------------------------------------------------------------

TEST_F(AdapterVersionsTest, TwoLoadsOfTheSameShareTheWork) {
  WriteAdapter("tone", 0.5f);
  absl::Notification compiling;
  absl::Notification go_on;
  std::atomic<int> compilations = 0;
  SetCompileHook([&] {
    // Once for each of the adapter's parameters.
    if (++compilations == 1) {
      compiling.Notify();
      go_on.WaitForNotification();
    }
  });
  absl::StatusOr<AdapterLifecycle::LoadResult> first;
  absl::StatusOr<AdapterLifecycle::LoadResult> second;
  std::thread loader([&] { first = lifecycle_->Load("tone", "tone", ""); });
  compiling.WaitForNotification();
  std::thread joiner([&] { second = lifecycle_->Load("tone", "tone", ""); });
  ExpectASharedLoad();
  go_on.Notify();
  loader.join();
  joiner.join();
  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(second, IsOk());
  EXPECT_FALSE(first->already_loaded);
  EXPECT_TRUE(second->already_loaded);
  EXPECT_EQ(second->info.version, 1);
  EXPECT_EQ(compilations, 2);
  EXPECT_EQ(lifecycle_->stats().loads.count, 1);
}

TEST_F(AdapterVersionsTest, WhoSharesALoadThatFailsGetsItsError) {
  WriteAdapter("tone", 0.5f);
  absl::Notification compiling;
  absl::Notification go_on;
  SetCompileHook([&] {
    if (!compiling.HasBeenNotified()) compiling.Notify();
    go_on.WaitForNotification();
  });
  fail_compilation_ = true;
  absl::Status first;
  absl::Status second;
  std::thread loader([&] { first = Load("tone"); });
  compiling.WaitForNotification();
  std::thread joiner([&] { second = Load("tone"); });
  ExpectASharedLoad();
  go_on.Notify();
  loader.join();
  joiner.join();
  EXPECT_THAT(first, StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(second, first);
}

TEST_F(AdapterVersionsTest, WhoReadsInTurnCompilesSideBySide) {
  AdapterLifecycle::Options options = Options();
  options.max_concurrent_loads = 1;
  Restart(std::move(options));
  // The slot is given back before compiling: with one slot, two loads still meet there.
  ExpectTwoLoadsMeetWhileCompiling();
}

// ---- Aliases ------------------------------------------------------------------------------------

TEST_F(AdapterVersionsTest, AnAliasNamesOneVersionWhereverANameCanBe) {
  MustLoad("tone", 0.5f);
  MustLoad("other", 0.75f);
  ASSERT_OK_AND_ASSIGN(const AliasInfo alias, lifecycle_->SetAlias("prod", "tone"));
  EXPECT_EQ(alias.target, (AdapterVersion{"tone", 1}));
  ASSERT_THAT(Replace("tone", 0.25f), IsOk());
  EXPECT_EQ(VersionOf("prod"), 1);
  EXPECT_EQ(VersionOf("tone"), 2);
  EXPECT_EQ(lifecycle_->Get("prod")->name, "tone");
  EXPECT_THAT(lifecycle_->Get("prod")->aliases, ElementsAre("prod"));
  EXPECT_THAT(lifecycle_->Get("tone")->aliases, IsEmpty());
  EXPECT_THAT(lifecycle_->Deltas("prod"), IsOk());
  EXPECT_THAT(lifecycle_->SetDefault({{"prod", 0.5}}), IsOk());
  EXPECT_THAT(lifecycle_->CreateBlend(
                  "blend", {AdapterSelectionTerm{"prod", 1.0}, AdapterSelectionTerm{"other", 1.0}},
                  {FusionRule::kSum}, ""),
              IsOk());
  EXPECT_THAT(lifecycle_->Acquire({{"prod", 1.0}, {"tone@1", 1.0}}),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(AdapterVersionsTest, MovingAnAliasLeavesRunningUsesAndCanBeTakenBack) {
  MustLoad("tone", 0.5f);
  ASSERT_THAT(lifecycle_->SetAlias("prod", "tone"), IsOk());
  const StateHandle running = MustAcquire("prod");
  ASSERT_THAT(Replace("tone", 0.25f), IsOk());
  ASSERT_OK_AND_ASSIGN(AliasInfo alias, lifecycle_->SetAlias("prod", "tone@2"));
  EXPECT_THAT(alias.history, ElementsAre(AdapterVersion{"tone", 1}));
  EXPECT_EQ(VersionOf("prod"), 2);
  EXPECT_EQ(running.adapters()[0].version, 1);
  // Kept for the way back.
  EXPECT_THAT(Listed(), ElementsAre("tone@1 READY", "tone@2 READY"));
  ASSERT_OK_AND_ASSIGN(alias, lifecycle_->RollbackAlias("prod"));
  EXPECT_EQ(alias.target, (AdapterVersion{"tone", 1}));
  EXPECT_EQ(VersionOf("prod"), 1);
  EXPECT_THAT(lifecycle_->RollbackAlias("prod"),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("tone@1")));
  EXPECT_THAT(lifecycle_->RollbackAlias("nobody"), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(AdapterVersionsTest, AllUsesSeeAnAliasBeforeOrAfterItsMove) {
  MustLoad("tone", 0.5f);
  MustLoad("loud", 0.25f);
  ASSERT_THAT(lifecycle_->SetAlias("prod", "tone"), IsOk());
  std::atomic<bool> over = false;
  std::vector<std::thread> users;
  for (int i = 0; i < 3; ++i) {
    users.emplace_back([&] {
      while (!over) {
        const auto handle = lifecycle_->Acquire({{"prod", 1.0}});
        ASSERT_THAT(handle, IsOk());
        const AdapterRef& ref = handle->adapters()[0];
        EXPECT_EQ(ref.digest, lifecycle_->Get(ref.name)->adapter->digest);
      }
    });
  }
  for (int i = 0; i < 200; ++i) {
    ASSERT_THAT(lifecycle_->SetAlias("prod", i % 2 == 0 ? "loud" : "tone"), IsOk());
    if (i % 10 != 0) continue;
    ASSERT_THAT(lifecycle_->RollbackAlias("prod"), IsOk());
  }
  over = true;
  for (std::thread& user : users) user.join();
}

TEST_F(AdapterVersionsTest, AnAliasAndAnAdapterNeverShareAName) {
  MustLoad("tone", 0.5f);
  WriteAdapter("prod", 0.25f);
  EXPECT_THAT(lifecycle_->SetAlias("tone", "tone"), StatusIs(absl::StatusCode::kAlreadyExists));
  ASSERT_THAT(lifecycle_->SetAlias("prod", "tone"), IsOk());
  EXPECT_THAT(Load("prod"), StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("alias")));
  EXPECT_THAT(
      lifecycle_->CreateBlend("prod", {AdapterSelectionTerm{"tone", 1.0}}, {FusionRule::kSum}, ""),
      StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(lifecycle_->SetAlias("live", "prod"), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(lifecycle_->SetAlias("base", "tone"), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(lifecycle_->SetAlias("a@1", "tone"), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(lifecycle_->SetAlias("live", "nobody"), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(AdapterVersionsTest, WhatAnAliasNamesCannotBeUnloaded) {
  MustLoad("tone", 0.5f);
  ASSERT_THAT(lifecycle_->SetAlias("prod", "tone"), IsOk());
  for (const char* name : {"tone", "tone@1", "prod"}) {
    EXPECT_THAT(Unload(name), StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("prod")))
        << name;
  }
  ASSERT_THAT(Replace("tone", 0.25f), IsOk());
  ASSERT_THAT(lifecycle_->SetAlias("prod", "tone@2"), IsOk());
  // In the history it can: then there is no way back.
  EXPECT_THAT(Unload("tone@1"), IsOk());
  EXPECT_THAT(lifecycle_->Aliases()[0].history, IsEmpty());
  EXPECT_THAT(lifecycle_->DeleteAlias("prod"), IsOk());
  EXPECT_THAT(lifecycle_->DeleteAlias("prod"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(Unload("tone"), IsOk());
}

TEST_F(AdapterVersionsTest, DeletingAnAliasLetsItsOldVersionsGo) {
  MustLoad("tone", 0.5f);
  ASSERT_THAT(lifecycle_->SetAlias("prod", "tone"), IsOk());
  ASSERT_THAT(Replace("tone", 0.25f), IsOk());
  ASSERT_THAT(lifecycle_->SetAlias("prod", "tone"), IsOk());
  ASSERT_THAT(Replace("tone", 0.125f), IsOk());
  EXPECT_THAT(Listed(), ElementsAre("tone@1 READY", "tone@2 READY", "tone@3 READY"));
  const StateHandle running = MustAcquire("tone@2");
  ASSERT_THAT(lifecycle_->SetDefault({{"prod", 1.0}}), IsOk());
  EXPECT_THAT(lifecycle_->DeleteAlias("prod"), StatusIs(absl::StatusCode::kFailedPrecondition));
  ASSERT_THAT(lifecycle_->SetDefault({}), IsOk());
  EXPECT_THAT(lifecycle_->DeleteAlias("prod"), IsOk());
  EXPECT_THAT(Listed(), ElementsAre("tone@2 UNLOADING", "tone@3 READY"));
}

TEST_F(AdapterVersionsTest, AFullHistoryForgetsItsOldestTarget) {
  MustLoad("tone", 0.5f);
  ASSERT_THAT(lifecycle_->SetAlias("prod", "tone"), IsOk());
  for (size_t i = 1; i <= kMaxAliasHistory + 2; ++i) {
    ASSERT_THAT(Replace("tone", static_cast<float>(i)), IsOk());
    ASSERT_THAT(lifecycle_->SetAlias("prod", "tone"), IsOk());
  }
  EXPECT_EQ(lifecycle_->Aliases()[0].history.size(), kMaxAliasHistory);
  EXPECT_EQ(Listed().size(), kMaxAliasHistory + 1);
  EXPECT_EQ(Listed().front(), "tone@3 READY");
}

TEST_F(AdapterVersionsTest, TheDefaultFollowsAnAlias) {
  MustLoad("tone", 0.5f);
  MustLoad("loud", 0.25f);
  ASSERT_THAT(lifecycle_->SetAlias("prod", "tone"), IsOk());
  ASSERT_THAT(lifecycle_->SetDefault({{"prod", 0.5}}), IsOk());
  EXPECT_EQ(lifecycle_->AcquireDefault()->adapters()[0].name, "tone");
  ASSERT_THAT(lifecycle_->SetAlias("prod", "loud"), IsOk());
  ASSERT_OK_AND_ASSIGN(const StateHandle handle, lifecycle_->AcquireDefault());
  EXPECT_EQ(handle.adapters()[0].name, "loud");
  EXPECT_EQ(handle.adapters()[0].weight, 0.5);
}

// ---- Pins in memory -----------------------------------------------------------------------------

TEST_F(AdapterVersionsTest, APinnedAdapterStaysInMemoryWhateverComes) {
  MustLoad("tone", 0.5f);
  const int64_t one = lifecycle_->memory_in_use_bytes();
  Restart(3 * one);
  MustLoad("tone", 0.5f);
  ASSERT_OK_AND_ASSIGN(const AdapterInfo pinned, lifecycle_->PinInMemory("tone"));
  EXPECT_TRUE(pinned.pinned);
  for (int i = 0; i < 40; ++i) MustLoad("other" + std::to_string(i), static_cast<float>(i));
  EXPECT_EQ(Info("tone").residency, AdapterResidency::kInMemory);
  EXPECT_EQ(Info("other0").residency, AdapterResidency::kOnDisk);
  EXPECT_GT(lifecycle_->stats().evicted_states, 0);
  EXPECT_EQ(lifecycle_->stats().pinned, 1);

  ASSERT_OK_AND_ASSIGN(const AdapterInfo unpinned, lifecycle_->Unpin("tone"));
  EXPECT_FALSE(unpinned.pinned);
  for (int i = 0; i < 40; ++i) MustAcquire("other" + std::to_string(i));
  EXPECT_EQ(Info("tone").residency, AdapterResidency::kOnDisk);
  EXPECT_GT(lifecycle_->stats().cold_starts.count, 0);
  EXPECT_GT(lifecycle_->stats().cold_starts.sum, absl::ZeroDuration());
}

TEST_F(AdapterVersionsTest, APinGoesOverToTheNextVersion) {
  MustLoad("tone", 0.5f);
  ASSERT_THAT(lifecycle_->PinInMemory("tone"), IsOk());
  ASSERT_THAT(Replace("tone", 0.25f), IsOk());
  EXPECT_THAT(Listed(), ElementsAre("tone@2 READY"));
  EXPECT_TRUE(Info("tone").pinned);
  EXPECT_THAT(Unload("tone"), IsOk());
  EXPECT_EQ(lifecycle_->memory_in_use_bytes(), 0);
}

TEST_F(AdapterVersionsTest, WhatIsNotReadyCannotBePinned) {
  EXPECT_THAT(lifecycle_->PinInMemory("nobody"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(lifecycle_->Unpin("nobody"), StatusIs(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace shira
