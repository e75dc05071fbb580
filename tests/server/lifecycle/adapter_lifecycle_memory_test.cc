// The life cycle and its memory: what is evicted, what is read again, and how many adapters fit.

#include <filesystem>
#include <new>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "base/steady_clock.h"
#include "server/lifecycle/adapter_lifecycle.h"
#include "server/residency/adapter_memory.h"
#include "server/residency/state_supplier.h"
#include "tests/server/lifecycle/lifecycle_fixture.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

class AdapterLifecycleMemoryTest : public testing::LifecycleFixture {
 protected:
  static constexpr int64_t kDeltaBytes = 4 * sizeof(float);

  // One with room for one compiled state, and loads "a".
  void RestartWithRoomForOneState() {
    Restart(int64_t{1} << 30);
    MustLoad("a", 0.5f);
    one_state_ = lifecycle_->memory_in_use_bytes() - kDeltaBytes;
    Restart(one_state_);
    MustLoad("a", 0.5f);
    EXPECT_EQ(lifecycle_->memory_in_use_bytes(), one_state_);
  }

  // The bytes that a state of "a" has to have.
  std::vector<ElementBuffer> FusedOf(const std::string& name, double weight) {
    auto handle = lifecycle_->Acquire({{name, weight}});
    EXPECT_THAT(handle, IsOk());
    std::vector<ElementBuffer> fused;
    if (!handle.ok()) return fused;
    for (const CompiledParameter& parameter : handle->state()->parameters) {
      fused.push_back(parameter.fused);
    }
    return fused;
  }

  int64_t one_state_ = 0;
};

// ---- Holding --------------------------------------------------------------------------------------

TEST_F(AdapterLifecycleMemoryTest, AHandleThatOnlyHoldsTakesNoMemory) {
  RestartWithRoomForOneState();
  std::vector<StateHandle> held;
  for (int i = 1; i <= 20; ++i) {
    ASSERT_OK_AND_ASSIGN(StateHandle handle, lifecycle_->Hold({{"a", 1.0 + i / 1024.0}}));
    EXPECT_TRUE(handle);
    EXPECT_FALSE(handle.is_known());
    EXPECT_FALSE(handle.Find());
    ASSERT_EQ(handle.adapters().size(), 1u);
    held.push_back(std::move(handle));
  }
  EXPECT_EQ(lifecycle_->memory_in_use_bytes(), one_state_);
  EXPECT_EQ(Info("a").running_requests, 20);
  EXPECT_THAT(Unload("a", SteadyNow()), StatusIs(absl::StatusCode::kDeadlineExceeded));
  held.clear();
  EXPECT_THAT(Unload("a"), IsOk());
}

TEST_F(AdapterLifecycleMemoryTest, AHeldStateIsFoundOrGotAndHasToWaitForOthersMemory) {
  RestartWithRoomForOneState();
  ASSERT_OK_AND_ASSIGN(StateHandle warm, lifecycle_->Hold({{"a", 1.0}}));
  EXPECT_TRUE(warm.is_known());
  ASSERT_OK_AND_ASSIGN(StateHandle cold, lifecycle_->Hold({{"a", 2.0}}));
  EXPECT_TRUE(warm.Find());
  bool has_memory = false;
  const auto get = [&] { return cold.source()->Get([&] { has_memory = true; }); };
  EXPECT_THAT(get(), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_FALSE(has_memory);
  warm = StateHandle();
  ASSERT_OK_AND_ASSIGN(std::shared_ptr<const CompiledState> state, get());
  EXPECT_TRUE(has_memory);
  cold.Set(std::move(state));
  EXPECT_EQ(cold.state()->key, cold.key());
  // What was known may be gone when it is looked for.
  ASSERT_OK_AND_ASSIGN(StateHandle again, lifecycle_->Hold({{"a", 2.0}}));
  EXPECT_TRUE(again.is_known());
  cold = StateHandle();
  ASSERT_THAT(lifecycle_->Acquire({{"a", 3.0}}), IsOk());
  EXPECT_FALSE(again.Find());
}

TEST_F(AdapterLifecycleMemoryTest, HoldingSaysWhatIsWrongWithNames) {
  MustLoad("a", 0.5f);
  const AdapterSelectionTerm a{"a", 1.0};
  for (const auto& [terms, code] :
       std::vector<std::pair<std::vector<AdapterSelectionTerm>, absl::StatusCode>>{
           {{{"b", 1.0}}, absl::StatusCode::kNotFound},
           {{a, a}, absl::StatusCode::kInvalidArgument}}) {
    EXPECT_THAT(lifecycle_->Hold(terms), StatusIs(code));
    EXPECT_THAT(lifecycle_->Resolve(terms), StatusIs(code));
  }
  ASSERT_OK_AND_ASSIGN(const std::vector<AdapterRef> named, lifecycle_->Resolve({a}));
  EXPECT_EQ(named.at(0).version, 1);
  EXPECT_EQ(Info("a").running_requests, 0);
  ASSERT_THAT(lifecycle_->SetDefault({a}), IsOk());
  ASSERT_OK_AND_ASSIGN(StateHandle by_default, lifecycle_->HoldDefault());
  EXPECT_TRUE(by_default.Find());
  EXPECT_EQ(by_default.adapters().at(0).name, "a");
  EXPECT_EQ(lifecycle_->ResolveDefault()->at(0).name, "a");
}

TEST_F(AdapterLifecycleMemoryTest, WhatIsLargerThanTheBudgetIsNotWaitedFor) {
  AdapterMemory memory(100);
  const StateSupplier states(engine_, memory);
  EXPECT_THAT(states.CheckFits(25), IsOk());  // two values of two bytes each
  EXPECT_THAT(states.CheckFits(26),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("at least 104 bytes")));
}

// ---- Want of memory -------------------------------------------------------------------------------

TEST_F(AdapterLifecycleMemoryTest, AnAllocationThatFailsEndsTheLoadAndNothingElse) {
  WriteAdapter("a", 0.5f);
  SetCompileHook([] { throw std::bad_alloc(); });
  EXPECT_THAT(Load("a"),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("out of memory")));
  EXPECT_EQ(Info("a").state, AdapterState::kFailed);
  EXPECT_EQ(lifecycle_->memory_in_use_bytes(), 0);
  SetCompileHook(nullptr);
  EXPECT_THAT(Load("a"), IsOk());
}

TEST_F(AdapterLifecycleMemoryTest, AnAllocationThatFailsEndsTheUseForAllWhoWaitForIt) {
  MustLoad("a", 0.5f);
  MustLoad("b", 0.25f);
  const int64_t before = lifecycle_->memory_in_use_bytes();
  SetCompileHook([] {
    absl::SleepFor(absl::Milliseconds(10));
    throw std::bad_alloc();
  });
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      EXPECT_THAT(lifecycle_->Acquire({{"a", 2.0}}),
                  StatusIs(absl::StatusCode::kResourceExhausted));
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(lifecycle_->CreateBlend("sum", {{"a", 1.0}, {"b", 1.0}}, {FusionRule::kSum}, ""),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(lifecycle_->memory_in_use_bytes(), before);
  EXPECT_EQ(Info("a").running_requests, 0);
  SetCompileHook(nullptr);
  EXPECT_THAT(lifecycle_->Acquire({{"a", 2.0}}), IsOk());
  EXPECT_THAT(lifecycle_->CreateBlend("sum", {{"a", 1.0}, {"b", 1.0}}, {FusionRule::kSum}, ""),
              IsOk());
}

// ---- The budget ---------------------------------------------------------------------------------

TEST_F(AdapterLifecycleMemoryTest, AnAdapterOverTheBudgetFails) {
  Restart(10);
  WriteAdapter("a", 0.5f);
  EXPECT_THAT(Load("a"), StatusIs(absl::StatusCode::kResourceExhausted,
                                  AllOf(HasSubstr("10 bytes"), HasSubstr("need"))));
  EXPECT_EQ(Info("a").state, AdapterState::kFailed);
  EXPECT_EQ(lifecycle_->memory_in_use_bytes(), 0);
}

TEST_F(AdapterLifecycleMemoryTest, UnusedStatesMakeRoomAndComeBackWhenNeeded) {
  RestartWithRoomForOneState();
  MustLoad("b", 0.25f);
  EXPECT_EQ(Info("a").residency, AdapterResidency::kOnDisk);
  EXPECT_EQ(Info("a").memory_bytes, 0);
  EXPECT_EQ(Info("a").adapter->entries, 4);
  EXPECT_EQ(Info("b").residency, AdapterResidency::kInMemory);
  EXPECT_EQ(Info("b").memory_bytes, one_state_);
  {
    ASSERT_OK_AND_ASSIGN(const StateHandle handle, lifecycle_->Acquire({{"a", 1.0}}));
    EXPECT_EQ(Info("a").memory_bytes, one_state_);
    EXPECT_EQ(Info("b").memory_bytes, 0);
    // a's state is pinned, so there is no room for b's.
    EXPECT_THAT(lifecycle_->Acquire({{"b", 1.0}}), StatusIs(absl::StatusCode::kResourceExhausted));
    EXPECT_EQ(Info("b").running_requests, 0);
  }
  EXPECT_THAT(lifecycle_->Acquire({{"b", 1.0}}), IsOk());
  EXPECT_EQ(lifecycle_->memory_in_use_bytes(), one_state_);
}

TEST_F(AdapterLifecycleMemoryTest, UnloadingGivesTheBudgetBack) {
  RestartWithRoomForOneState();
  WriteAdapter("b", 0.25f);
  {
    ASSERT_OK_AND_ASSIGN(const StateHandle handle, lifecycle_->Acquire({{"a", 1.0}}));
    EXPECT_THAT(Load("b"), StatusIs(absl::StatusCode::kResourceExhausted));
  }
  EXPECT_THAT(Unload("a"), IsOk());
  EXPECT_EQ(lifecycle_->memory_in_use_bytes(), 0);
  EXPECT_THAT(Load("b"), IsOk());
}

TEST_F(AdapterLifecycleMemoryTest, AResidentStateCountsUntilTheWeightsLeaveIt) {
  RestartWithRoomForOneState();
  {
    ASSERT_OK_AND_ASSIGN(const StateHandle handle, lifecycle_->Acquire({{"a", 1.0}}));
    engine_.Apply(handle.state());
  }
  ASSERT_THAT(Unload("a"), IsOk());
  WriteAdapter("b", 0.25f);
  EXPECT_THAT(Load("b"), StatusIs(absl::StatusCode::kResourceExhausted));
  engine_.Apply(engine_.base());
  EXPECT_THAT(Load("b"), IsOk());
}

TEST_F(AdapterLifecycleMemoryTest, UnloadingOneOfTwoNamesOfTheSameContentKeepsItsState) {
  MustLoad("a", 0.5f);
  MustLoad("twin", 0.5f);
  const int64_t with_state = Info("a").memory_bytes;
  ASSERT_THAT(Unload("twin"), IsOk());
  EXPECT_EQ(Info("a").memory_bytes, with_state);
  EXPECT_THAT(lifecycle_->Acquire({{"a", 1.0}}), IsOk());
}

TEST_F(AdapterLifecycleMemoryTest, WhatAdaptersShareCountsOnce) {
  MustLoad("a", 0.5f);
  const int64_t first = lifecycle_->memory_in_use_bytes();
  MustLoad("b", 0.25f);
  // Fused values in bf16, and deltas; tables and originals are those of a.
  EXPECT_EQ(lifecycle_->memory_in_use_bytes(), first + 4 * 2 + kDeltaBytes);
  EXPECT_EQ(Info("b").memory_bytes, Info("a").memory_bytes);
  ASSERT_THAT(Unload("a"), IsOk());
  EXPECT_EQ(lifecycle_->memory_in_use_bytes(), first);
}

// ---- Reading again ------------------------------------------------------------------------------

TEST_F(AdapterLifecycleMemoryTest, EvictedDeltasAreReadAgainForAnotherWeight) {
  MustLoad("a", 0.5f);
  const auto own = FusedOf("a", 1.0);
  const auto half = FusedOf("a", 0.5);
  RestartWithRoomForOneState();
  EXPECT_EQ(FusedOf("a", 0.5), half);  // evicts the own state
  EXPECT_EQ(Info("a").residency, AdapterResidency::kOnDisk);
  EXPECT_EQ(FusedOf("a", 1.0), own);
  EXPECT_EQ(Info("a").residency, AdapterResidency::kInMemory);
}

TEST_F(AdapterLifecycleMemoryTest, DeltasInMemoryNeedNoFile) {
  MustLoad("a", 0.5f);
  std::filesystem::remove_all(root_.Path("a"));
  EXPECT_THAT(lifecycle_->Acquire({{"a", 0.5}}), IsOk());
  EXPECT_THAT(lifecycle_->Deltas("a"), IsOk());
}

TEST_F(AdapterLifecycleMemoryTest, AFileThatIsGoneOrChangedIsAnErrorOnlyWhenItIsNeeded) {
  RestartWithRoomForOneState();
  const auto gone =
      StatusIs(absl::StatusCode::kNotFound,
               AllOf(HasSubstr(root_.Path("a")), HasSubstr("'a'"), HasSubstr("load it again")));
  const auto changed =
      StatusIs(absl::StatusCode::kDataLoss,
               AllOf(HasSubstr(root_.Path("a")), HasSubstr("'a'"), HasSubstr("load it again")));

  std::filesystem::rename(root_.Path("a"), root_.Path("elsewhere"));
  EXPECT_THAT(lifecycle_->Acquire({{"a", 1.0}}), IsOk());
  EXPECT_THAT(lifecycle_->Acquire({{"a", 0.5}}), gone);
  EXPECT_THAT(lifecycle_->Deltas("a"), gone);
  WriteAdapter("a", 0.75f);
  EXPECT_THAT(lifecycle_->Acquire({{"a", 0.5}}), changed);
  root_.Write("a/adapter_model.safetensors", "garbage");
  EXPECT_THAT(lifecycle_->Acquire({{"a", 0.5}}), changed);
  EXPECT_THAT(lifecycle_->Deltas("a"), changed);
  EXPECT_EQ(Info("a").running_requests, 0);
  EXPECT_EQ(Info("a").state, AdapterState::kReady);

  std::filesystem::remove_all(root_.Path("a"));
  std::filesystem::rename(root_.Path("elsewhere"), root_.Path("a"));
  EXPECT_THAT(lifecycle_->Acquire({{"a", 0.5}}), IsOk());
}

TEST_F(AdapterLifecycleMemoryTest, AFolderThatBecameALinkOutOfTheRootsIsNotFollowed) {
  RestartWithRoomForOneState();
  const testing::TempFolder outside;
  std::filesystem::rename(root_.Path("a"), outside.Path("a"));
  std::filesystem::create_directory_symlink(outside.Path("a"), root_.Path("a"));
  EXPECT_THAT(lifecycle_->Deltas("a"), StatusIs(absl::StatusCode::kPermissionDenied));
}

TEST_F(AdapterLifecycleMemoryTest, LookingAtDeltasIsNoUse) {
  MustLoad("a", 0.5f);
  EXPECT_THAT(lifecycle_->Deltas("a"), IsOk());
  EXPECT_EQ(Info("a").last_use, absl::InfinitePast());
  EXPECT_EQ(Info("a").running_requests, 0);
  EXPECT_THAT(lifecycle_->Deltas("nobody"), StatusIs(absl::StatusCode::kNotFound));
}

// ---- Many adapters ------------------------------------------------------------------------------

TEST_F(AdapterLifecycleMemoryTest, AThousandAdaptersOfOneMaskCostTwoBytesPerEntryEach) {
  constexpr int64_t kAdapters = 1000;
  constexpr int64_t kRows = 64;
  constexpr int64_t kCols = 256;
  constexpr int64_t kEntries = 2000;
  testing::PlainWeights weights(DType::kBF16, {{"model.layers.0.mlp.up_proj.weight", kRows, kCols}},
                                1);
  SwitchEngine engine(weights.memory(), {});
  const AdapterReader reader(weights.identity(), {});
  std::mt19937 random(1);
  std::vector<std::pair<int32_t, int32_t>> mask;
  for (const int64_t position : testing::RandomPositions(kRows, kCols, kEntries, random)) {
    mask.push_back({position / kCols, position % kCols});
  }
  // A third of what the values alone take in fp32. The slack is one adapter's compilation, before
  // it is known what it shares, and the tables' row offsets.
  const int64_t budget = 6 * kEntries + 2 * kEntries * kAdapters + 8 * kEntries;
  ASSERT_OK_AND_ASSIGN(
      const auto lifecycle,
      AdapterLifecycle::Create({.roots = {root_.path()}, .memory_budget_bytes = budget}, reader,
                               engine));
  const auto name_of = [](int64_t i) { return "adapter" + std::to_string(i); };
  for (int64_t i = 0; i < kAdapters; ++i) {
    testing::AdapterFolder files;
    files.AddLayer("model.layers.0.mlp.up_proj", mask,
                   std::vector<float>(kEntries, 0.01f * static_cast<float>(i + 1)));
    files.Write(root_.Path(name_of(i)));
    ASSERT_THAT(lifecycle->Load(name_of(i), name_of(i), ""), IsOk()) << i;
  }
  const std::vector<AdapterInfo> infos = lifecycle->List();
  ASSERT_EQ(infos.size(), kAdapters);
  for (const AdapterInfo& info : infos) {
    EXPECT_EQ(info.residency, AdapterResidency::kInMemory) << info.name;
  }
  EXPECT_LE(lifecycle->memory_in_use_bytes(), budget);
  // Every one is right, also with a weight, for which its file is read again.
  for (int64_t i = 0; i < kAdapters; i += 111) {
    for (const double weight : {1.0, 0.5}) {
      ASSERT_OK_AND_ASSIGN(const StateHandle handle, lifecycle->Acquire({{name_of(i), weight}}));
      const auto& [parameter, table, originals, fused] = handle.state()->parameters[0];
      for (const int64_t entry : {int64_t{0}, kEntries - 1}) {
        const float original = testing::LoadElement(DType::kBF16, originals->data(), entry);
        const float delta = 0.01f * static_cast<float>(i + 1) * static_cast<float>(weight);
        EXPECT_EQ(testing::LoadElement(DType::kBF16, fused.data(), entry),
                  ToFloat(FromFloat<BFloat16>(original + delta)));
      }
    }
  }
  EXPECT_LE(lifecycle->memory_in_use_bytes(), budget);
}

}  // namespace
}  // namespace shira
