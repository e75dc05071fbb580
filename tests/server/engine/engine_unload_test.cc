// Engine and life cycle together: loading and unloading adapters while generations run.

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>

#include "absl/synchronization/notification.h"
#include "base/steady_clock.h"
#include "server/engine/engine.h"
#include "tests/server/lifecycle/lifecycle_fixture.h"
#include "tests/testutil/fake_model_executor.h"
#include "tests/testutil/recording_observer.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::FakeModelExecutor;
using ::shira::testing::Fingerprint;
using ::shira::testing::IsOk;
using ::shira::testing::RecordingObserver;
using ::shira::testing::StatusIs;

using Observer = std::shared_ptr<RecordingObserver>;

class EngineUnloadTest : public testing::LifecycleFixture {
 protected:
  EngineUnloadTest() {
    AdapterLifecycle::Options options = Options();
    options.on_gone = [this](const Sha256Digest& adapter) { model_.Leave(adapter); };
    Restart(std::move(options));
  }
  ~EngineUnloadTest() override { lifecycle_.reset(); }

  absl::StatusOr<std::shared_ptr<CancellationToken>> Submit(std::vector<AdapterSelectionTerm> terms,
                                                            int64_t max_tokens, Observer observer) {
    GenerationRequest request;
    request.prompt = prompt_;
    request.max_tokens = max_tokens;
    SHIRA_ASSIGN_OR_RETURN(request.state, lifecycle_->Hold(terms));
    request.observer = std::move(observer);
    return model_.Submit(std::move(request));
  }
  Observer MustSubmit(const std::string& name, int64_t max_tokens) {
    auto observer = std::make_shared<RecordingObserver>();
    const auto token = Submit({{name, 1.0}}, max_tokens, observer);
    EXPECT_TRUE(token.ok()) << token.status();
    return observer;
  }
  void SlowDown() {
    executor_.SetForwardHook([](auto) {
      absl::SleepFor(absl::Milliseconds(2));
      return absl::OkStatus();
    });
  }

  static FakeModelExecutor::Options ModelOptions() {
    FakeModelExecutor::Options options;
    options.context_length = 1'000'000;
    options.kv_budget_tokens = 100'000'000;
    return options;
  }

  bool HasInWeights(const Sha256Digest& adapter) const {
    const std::shared_ptr<const CompiledState> resident = engine_.resident();
    const auto terms = resident->key.terms();
    return std::any_of(terms.begin(), terms.end(),
                       [&](const StateTerm& term) { return term.adapter == adapter; });
  }

  std::vector<int32_t> prompt_ = {1, 2, 3};
  FakeModelExecutor executor_{weights_, ModelOptions()};
  Engine model_{{.max_prefixes = 64}, executor_, engine_};
};

TEST_F(EngineUnloadTest, UnloadingWaitsUntilTheAnswerIsThere) {
  MustLoad("a", 0.5f);
  const Observer observer = MustSubmit("a", 30);
  EXPECT_THAT(Unload("a"), IsOk());
  EXPECT_EQ(observer->tokens().size(), 30u);
  EXPECT_THAT(observer->status(), IsOk());
}

TEST_F(EngineUnloadTest, RightAfterAnAnswerNothingIsPinned) {
  MustLoad("a", 0.5f);
  absl::Status status = absl::UnknownError("not called");
  auto observer = std::make_shared<RecordingObserver>(
      nullptr, [&] { status = Unload("a", SteadyTime::InfinitePast()); });
  ASSERT_THAT(Submit({{"a", 1.0}}, 3, observer), IsOk());
  EXPECT_THAT(observer->status(), IsOk());
  EXPECT_THAT(status, IsOk());
}

TEST_F(EngineUnloadTest, UnloadingThatTimesOutDisturbsNobody) {
  MustLoad("a", 0.5f);
  SlowDown();
  const Observer observer = MustSubmit("a", 100);
  EXPECT_THAT(Unload("a", SteadyNow() + absl::Milliseconds(10)),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_EQ(Info("a").state, AdapterState::kReady);
  EXPECT_THAT(MustSubmit("a", 2)->status(), IsOk());
  EXPECT_THAT(observer->status(), IsOk());
  EXPECT_EQ(observer->tokens().size(), 100u);
}

TEST_F(EngineUnloadTest, UnloadingCanCancelTheUsersAndSparesTheOthers) {
  MustLoad("a", 0.5f);
  MustLoad("b", 0.25f);
  SlowDown();
  const Observer alone = MustSubmit("a", 100'000);
  auto blended = std::make_shared<RecordingObserver>();
  ASSERT_THAT(Submit({{"a", 0.5}, {"b", 1.0}}, 100'000, blended), IsOk());
  const Observer other = MustSubmit("b", 20);
  EXPECT_THAT(lifecycle_->Unload(
                  "a", SteadyNow() + absl::Minutes(1),
                  [&](const AdapterInfo& info) { model_.CancelUsersOf(info.adapter->digest); }),
              IsOk());
  EXPECT_THAT(alone->status(), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_THAT(blended->status(), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_THAT(other->status(), IsOk());
  EXPECT_EQ(lifecycle_->Get("a"), std::nullopt);
}

TEST_F(EngineUnloadTest, AfterUnloadingTheWeightsGoBackToTheBase) {
  MustLoad("a", 0.5f);
  EXPECT_THAT(MustSubmit("a", 3)->status(), IsOk());
  EXPECT_THAT(Unload("a"), IsOk());
  ASSERT_OK_AND_ASSIGN(const StateHandle base, lifecycle_->Acquire({}));
  ASSERT_THAT(model_.Apply(base, SteadyTime::InfiniteFuture()), IsOk());
  ASSERT_OK_AND_ASSIGN(const VerifyReport report, model_.Verify(SteadyTime::InfiniteFuture()));
  EXPECT_TRUE(report.matches_base);
}

// Whichever call ends the last version with its content.
TEST_F(EngineUnloadTest, WhatIsGoneIsInNeitherWeightsNorKeptPromptsNorMemory) {
  MustLoad("b", 0.25f);
  prompt_.assign(100, 7);
  EXPECT_THAT(MustSubmit("b", 3)->status(), IsOk());
  const int64_t prompts = model_.stats().kept_prefixes;
  const int64_t memory = lifecycle_->memory_in_use_bytes();
  ASSERT_GT(prompts, 0);
  MustLoad("a", 0.5f);
  const Sha256Digest a = Info("a").adapter->digest;
  EXPECT_THAT(MustSubmit("a", 3)->status(), IsOk());
  EXPECT_TRUE(HasInWeights(a));
  EXPECT_GT(model_.stats().kept_prefixes, prompts);
  EXPECT_THAT(Unload("a"), IsOk());
  EXPECT_FALSE(HasInWeights(a));
  EXPECT_EQ(model_.stats().kept_prefixes, prompts);
  EXPECT_EQ(lifecycle_->memory_in_use_bytes(), memory);
}

TEST_F(EngineUnloadTest, WhatWasReplacedLeavesWithItsLastRequest) {
  MustLoad("a", 0.5f);
  SlowDown();
  prompt_.assign(100, 7);
  const Sha256Digest old = Info("a").adapter->digest;
  const Observer observer = MustSubmit("a", 20);
  WriteAdapter("new", 0.25f);
  ASSERT_THAT(lifecycle_->Load("a", "new", "", {.replace = true}), IsOk());
  EXPECT_THAT(observer->status(), IsOk());
  // The departure is carried out after the last request has ended, on no thread of this test.
  while (HasInWeights(old) || model_.stats().kept_prefixes > 0) {
    absl::SleepFor(absl::Milliseconds(1));
  }
  EXPECT_EQ(lifecycle_->List().size(), 1u);
}

TEST_F(EngineUnloadTest, WhatIsLoadedAgainMeanwhileStaysForThoseWhoUseIt) {
  MustLoad("a", 0.5f);
  const Sha256Digest digest = Info("a").adapter->digest;
  SlowDown();
  const Observer observer = MustSubmit("a", 20);
  while (!HasInWeights(digest)) absl::SleepFor(absl::Milliseconds(1));
  model_.Leave(digest);
  EXPECT_TRUE(HasInWeights(digest));
  EXPECT_THAT(observer->status(), IsOk());
  model_.Leave(digest);
  EXPECT_FALSE(HasInWeights(digest));
}

}  // namespace
}  // namespace shira
