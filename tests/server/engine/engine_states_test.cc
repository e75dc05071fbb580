// Generations whose states are not in memory when they are submitted.

#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "absl/synchronization/notification.h"
#include "base/work_queue.h"
#include "tests/server/engine/engine_fixture.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::FakeModelExecutor;
using ::shira::testing::IsOk;
using ::shira::testing::RecordingObserver;
using ::shira::testing::StatusIs;
using ::testing::HasSubstr;

class EngineStatesTest : public testing::EngineFixture {
 protected:
  using StatePtr = std::shared_ptr<const CompiledState>;
  using Make = std::function<absl::StatusOr<StatePtr>(StatePtr)>;

  ~EngineStatesTest() override {
    engine_.reset();
    lane_.reset();
    EXPECT_EQ(pins_, 0);
  }

  void StartWithLane(Engine::Options options = {}) {
    lane_ = std::make_unique<WorkQueue>(WorkQueue::Options{.name = "a test", .threads = 3});
    options.preparation.run = [this](std::string_view client, std::function<void()> work) {
      return lane_->Add(client, std::move(work));
    };
    Start(options);
  }

  // A state that `make` makes of the compiled one, on the thread that prepares it.
  Observer SubmitLazily(int adapter, std::vector<int32_t> prompt, int64_t max_tokens, Make make) {
    auto observer = std::make_shared<RecordingObserver>();
    GenerationRequest request = Request(adapter, std::move(prompt), max_tokens, observer);
    StateHandle ready = std::move(request.state);
    const StateKey key = ready.key();
    std::vector<AdapterRef> adapters = ready.adapters();
    request.state =
        StateHandle(key, std::weak_ptr<const CompiledState>(), std::move(adapters),
                    std::make_shared<Source>(std::move(ready), std::move(make), calls_));
    request.cancellation = std::make_shared<CancellationToken>();
    last_token_ = request.cancellation;
    EXPECT_THAT(engine_->Submit(std::move(request)), IsOk());
    return observer;
  }

  class Source : public StateSource {
   public:
    Source(StateHandle ready, Make make, std::atomic<int>& calls)
        : ready_(std::move(ready)), make_(std::move(make)), calls_(calls) {}
    absl::StatusOr<StatePtr> Get(absl::FunctionRef<void()> on_memory) override {
      ++calls_;
      absl::StatusOr<StatePtr> state = make_(ready_.state());
      if (state.ok()) on_memory();
      return state;
    }

   private:
    const StateHandle ready_;
    const Make make_;
    std::atomic<int>& calls_;
  };

  static absl::StatusOr<StatePtr> AtOnce(StatePtr state) { return state; }

  std::atomic<int> calls_ = 0;
  std::shared_ptr<CancellationToken> last_token_;
  std::unique_ptr<WorkQueue> lane_;
};

TEST_F(EngineStatesTest, AQueueHoldsTheStatesOfThoseAloneWhoComeNext) {
  StartWithLane({.max_running = 1, .preparation = {.max_ahead = 2, .run = nullptr}});
  const auto gate = CloseGate();
  const Observer running = Submit(0, {1}, 4);
  gate->WaitForStep();
  std::vector<Observer> queued;
  for (int i = 1; i <= 6; ++i) queued.push_back(SubmitLazily(i, {i}, 3, AtOnce));
  EXPECT_LE(calls_, 2);
  gate->Open();
  for (int i = 1; i <= 6; ++i) {
    EXPECT_THAT(queued[i - 1]->status(), IsOk());
    EXPECT_EQ(queued[i - 1]->tokens(), Expected(i, {i}, 3));
  }
  EXPECT_EQ(calls_, 6);
}

TEST_F(EngineStatesTest, ADiskThatHangsIsInNobodysWay) {
  StartWithLane({.max_running = 1, .max_bypassed = 1});
  absl::Notification disk;
  const Observer hanging = SubmitLazily(1, {1}, 3, [&](StatePtr state) {
    disk.WaitForNotification();
    return state;
  });
  for (int i = 0; i < 4; ++i) EXPECT_THAT(Submit(2, {2}, 3)->status(), IsOk());
  EXPECT_THAT(SubmitLazily(3, {3}, 3, AtOnce)->status(), IsOk());
  EXPECT_FALSE(hanging->ended());
  disk.Notify();
  EXPECT_THAT(hanging->status(), IsOk());
  EXPECT_EQ(hanging->tokens(), Expected(1, {1}, 3));
}

TEST_F(EngineStatesTest, MemoryThatOthersHaveIsWaitedFor) {
  StartWithLane();
  const auto gate = CloseGate();
  std::atomic<bool> has_ended = false;
  auto observer = std::make_shared<RecordingObserver>(nullptr, [&has_ended] { has_ended = true; });
  EXPECT_THAT(engine_->Submit(Request(0, {1}, 4, observer)), IsOk());
  gate->WaitForStep();
  const Observer waiting = SubmitLazily(1, {1}, 3, [&](StatePtr state) -> absl::StatusOr<StatePtr> {
    if (!has_ended) return absl::ResourceExhaustedError("others have it");
    return state;
  });
  gate->Open();
  EXPECT_THAT(waiting->status(), IsOk());
  EXPECT_GE(calls_, 1);
}

TEST_F(EngineStatesTest, MemoryThatNobodyWillGiveBackIsAnError) {
  StartWithLane();
  const auto never = [](StatePtr) -> absl::StatusOr<StatePtr> {
    return absl::ResourceExhaustedError("there is too little");
  };
  EXPECT_THAT(SubmitLazily(1, {1}, 3, never)->status(),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("too little")));
  // Also when several want it.
  std::vector<Observer> several;
  for (int i = 1; i < 5; ++i) several.push_back(SubmitLazily(i, {1}, 3, never));
  for (const Observer& observer : several) {
    EXPECT_THAT(observer->status(), StatusIs(absl::StatusCode::kResourceExhausted));
  }
  EXPECT_THAT(Submit(0, {1}, 3)->status(), IsOk());
}

TEST_F(EngineStatesTest, AnAdapterThatCannotBeReadFailsItsGenerationAlone) {
  StartWithLane();
  const Observer failed = SubmitLazily(1, {1}, 3, [](StatePtr) -> absl::StatusOr<StatePtr> {
    return absl::DataLossError("the file has changed");
  });
  EXPECT_THAT(failed->status(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("has changed")));
  EXPECT_THAT(SubmitLazily(2, {1}, 3, AtOnce)->status(), IsOk());
  EXPECT_EQ(engine_->stats().not_finite, 0);
}

TEST_F(EngineStatesTest, OneThatIsCancelledWhileItIsReadEndsAtOnceAndKeepsItsPinUntilTheRead) {
  StartWithLane();
  absl::Notification begun;
  absl::Notification disk;
  const Observer hanging = SubmitLazily(1, {1}, 3, [&](StatePtr state) {
    begun.Notify();
    disk.WaitForNotification();
    return state;
  });
  begun.WaitForNotification();
  last_token_->Cancel(absl::AbortedError("the test says so"));
  EXPECT_THAT(hanging->status(), StatusIs(absl::StatusCode::kAborted, HasSubstr("test says so")));
  EXPECT_EQ(pins_, 1);
  disk.Notify();
  engine_.reset();
  lane_.reset();
}

TEST_F(EngineStatesTest, WithoutAnotherThreadItIsDoneBetweenTwoSteps) {
  Start();
  EXPECT_THAT(SubmitLazily(1, {1}, 3, AtOnce)->status(), IsOk());
}

}  // namespace
}  // namespace shira
