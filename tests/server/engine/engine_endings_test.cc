// How generations end before they are finished: cancelled, expired, failed, drained.

#include <thread>

#include "base/steady_clock.h"
#include "server/engine/engine.h"
#include "tests/server/engine/engine_fixture.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::Gate;
using ::shira::testing::IsOk;
using ::shira::testing::RecordingObserver;
using ::shira::testing::StatusIs;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Token = std::shared_ptr<CancellationToken>;

class EngineEndingsTest : public testing::EngineFixture {
 protected:
  struct Submitted {
    Observer observer;
    Token token;
  };
  Submitted SubmitUntil(SteadyTime deadline, int adapter, std::vector<int32_t> prompt,
                        int64_t max_tokens) {
    auto observer = std::make_shared<RecordingObserver>();
    GenerationRequest request = Request(adapter, std::move(prompt), max_tokens, observer);
    request.deadline = deadline;
    auto token = engine_->Submit(std::move(request));
    EXPECT_TRUE(token.ok()) << token.status();
    return {observer, token.value_or(nullptr)};
  }
  Submitted SubmitCancellable(int adapter, std::vector<int32_t> prompt, int64_t max_tokens) {
    return SubmitUntil(SteadyTime::InfiniteFuture(), adapter, std::move(prompt), max_tokens);
  }
  static void SleepUntil(SteadyTime time) {
    while (SteadyNow() < time) absl::SleepFor(time - SteadyNow());
  }
};

TEST_F(EngineEndingsTest, CancelledWhileDecodingItStopsAtTheNextToken) {
  Start();
  Token token;
  absl::Mutex mutex;
  // From the observer, so that the number of tokens is certain.
  int seen = 0;
  auto observer = std::make_shared<RecordingObserver>([&](const GeneratedToken&) {
    absl::MutexLock lock(&mutex);
    const auto have_token = [&] { return token != nullptr; };
    mutex.Await(absl::Condition(&have_token));
    if (++seen == 3) token->Cancel();
    return GenerationObserver::Verdict::kContinue;
  });
  {
    auto submitted = engine_->Submit(Request(1, {1}, 50, observer));
    ASSERT_THAT(submitted, IsOk());
    absl::MutexLock lock(&mutex);
    token = *submitted;
  }
  EXPECT_THAT(observer->status(), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(observer->tokens(), Expected(1, {1}, 3));
  EXPECT_EQ(executor_->kv_used_bytes(), 0);
  EXPECT_EQ(pins_, 0);
  EXPECT_EQ(engine_->stats().failed, 1);
}

TEST_F(EngineEndingsTest, CancelledInPrefillItStopsBeforeTheNextChunk) {
  Start({.max_queued = 10,
         .max_running = 2,
         .step = {.step_tokens = 4, .max_state_wait = absl::ZeroDuration()}});
  const auto gate = CloseGate();
  const Submitted submitted = SubmitCancellable(0, Prompt(40), 5);
  gate->WaitForStep();
  submitted.token->Cancel();
  gate->Open();
  EXPECT_THAT(submitted.observer->status(), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_THAT(submitted.observer->tokens(), IsEmpty());
  EXPECT_EQ(executor_->trace().size(), 1u);
}

TEST_F(EngineEndingsTest, CancelledWhileQueuedItEndsAtTheNextStepAndOthersGoOn) {
  Start({.max_queued = 10,
         .max_running = 1,
         .step = {.step_tokens = 512, .max_state_wait = absl::ZeroDuration()}});
  const auto gate = CloseGate();
  const Observer running = Submit(0, {1}, 30);
  gate->WaitForStep();
  int64_t running_tokens = -1;
  auto observer = std::make_shared<RecordingObserver>(
      nullptr, [&] { running_tokens = static_cast<int64_t>(running->tokens().size()); });
  ASSERT_OK_AND_ASSIGN(const Token token, engine_->Submit(Request(1, {1}, 5, observer)));
  const Observer last = Submit(2, {1}, 5);
  token->Cancel();
  gate->Open();
  EXPECT_THAT(observer->status(), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(running_tokens, 1);
  EXPECT_THAT(running->status(), IsOk());
  EXPECT_EQ(last->status(), absl::OkStatus());
  EXPECT_EQ(last->tokens(), Expected(2, {1}, 5));
}

TEST_F(EngineEndingsTest, ExpiredWhileDecodingItStopsAtTheNextToken) {
  Start();
  const SteadyTime deadline = SteadyNow() + absl::Milliseconds(50);
  // The second step ends after the deadline.
  executor_->SetForwardHook([&, step = 0](auto) mutable {
    if (++step == 2) SleepUntil(deadline);
    return absl::OkStatus();
  });
  const Submitted submitted = SubmitUntil(deadline, 0, {1}, 50);
  EXPECT_THAT(submitted.observer->status(), StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_LE(submitted.observer->tokens().size(), 2u);
  EXPECT_EQ(executor_->kv_used_bytes(), 0);
}

TEST_F(EngineEndingsTest, ExpiredInPrefillItGivesNoToken) {
  Start({.max_queued = 10,
         .max_running = 2,
         .step = {.step_tokens = 4, .max_state_wait = absl::ZeroDuration()}});
  const SteadyTime deadline = SteadyNow() + absl::Milliseconds(50);
  executor_->SetForwardHook([&](auto) {
    SleepUntil(deadline);
    return absl::OkStatus();
  });
  const Submitted submitted = SubmitUntil(deadline, 0, Prompt(40), 5);
  EXPECT_THAT(submitted.observer->status(), StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_THAT(submitted.observer->tokens(), IsEmpty());
  EXPECT_LE(executor_->trace().size(), 1u);
}

TEST_F(EngineEndingsTest, ExpiredWhileQueuedItEndsWhileOthersRun) {
  Start({.max_queued = 10,
         .max_running = 1,
         .step = {.step_tokens = 512, .max_state_wait = absl::ZeroDuration()}});
  const auto gate = CloseGate();
  const Observer running = Submit(0, {1}, 30);
  gate->WaitForStep();
  const SteadyTime deadline = SteadyNow() + absl::Milliseconds(20);
  const Submitted submitted = SubmitUntil(deadline, 1, {1}, 5);
  SleepUntil(deadline);
  gate->Open();
  EXPECT_THAT(submitted.observer->status(),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("0 tokens")));
  EXPECT_THAT(running->status(), IsOk());
}

TEST_F(EngineEndingsTest, ADeadlineInThePastGivesNoStep) {
  Start();
  EXPECT_THAT(SubmitUntil(SteadyNow() - absl::Seconds(1), 0, {1}, 5).observer->status(),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_THAT(executor_->trace(), IsEmpty());
}

TEST_F(EngineEndingsTest, CancelUsersOfEndsThoseOfThatAdapterOnly) {
  Start({.max_queued = 10,
         .max_running = 2,
         .step = {.step_tokens = 512, .max_state_wait = absl::ZeroDuration()}});
  const auto gate = CloseGate();
  const Observer running = Submit(1, {1}, 40);
  const Observer other = Submit(2, {1}, 10);
  gate->WaitForStep();
  const Observer queued = Submit(1, {2}, 40);
  const Observer base = Submit(0, {2}, 10);
  engine_->CancelUsersOf(testing::TinyAdapter(1)->digest);
  gate->Open();
  EXPECT_THAT(running->status(), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_THAT(queued->status(), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_THAT(queued->tokens(), IsEmpty());
  EXPECT_THAT(other->status(), IsOk());
  EXPECT_THAT(base->status(), IsOk());
  // Later ones are not meant.
  EXPECT_THAT(Submit(1, {3}, 2)->status(), IsOk());
}

TEST_F(EngineEndingsTest, AnExecutorErrorFailsTheStepsGenerationsAndTheEngineGoesOn) {
  Start({.max_queued = 10,
         .max_running = 4,
         .step = {.max_state_wait = absl::Hours(1), .row_patching = RowPatching::kOff}});
  const auto gate = std::make_shared<Gate>();
  executor_->SetForwardHook([gate, step = 0](auto) mutable {
    if (++step == 1) return gate->Pass();
    return step == 2 ? absl::InternalError("the kernel failed") : absl::OkStatus();
  });
  const Observer first = Submit(1, {1}, 10);
  gate->WaitForStep();
  const Observer second = Submit(1, {2}, 10);
  const Observer other = Submit(2, {3}, 10);
  gate->Open();
  for (const Observer& observer : {first, second}) {
    EXPECT_THAT(observer->status(),
                StatusIs(absl::StatusCode::kInternal, HasSubstr("the kernel failed")));
  }
  EXPECT_EQ(first->tokens().size(), 1u);
  EXPECT_EQ(other->status(), absl::OkStatus());
  EXPECT_EQ(other->tokens(), Expected(2, {3}, 10));
  EXPECT_EQ(Submit(1, {1}, 4)->status(), absl::OkStatus());
  EXPECT_EQ(engine_->stats().failed, 2);
  EXPECT_EQ(executor_->kv_used_bytes(), 0);
}

TEST_F(EngineEndingsTest, AnErrorOfNewSequenceFailsThatGenerationOnly) {
  Start();
  executor_->FailNextSequence(absl::InternalError("no pages"));
  EXPECT_THAT(Submit(0, {1}, 3)->status(), StatusIs(absl::StatusCode::kInternal));
  EXPECT_THAT(Submit(0, {1}, 3)->status(), IsOk());
}

// ---- Draining -----------------------------------------------------------------------------------

TEST_F(EngineEndingsTest, DrainingLetsRunningAndQueuedOnesEnd) {
  Start({.max_queued = 10,
         .max_running = 1,
         .step = {.step_tokens = 512, .max_state_wait = absl::ZeroDuration()}});
  const Observer running = Submit(0, {1}, 20);
  const Observer queued = Submit(1, {1}, 20);
  engine_->Drain(absl::Minutes(1));
  // Over when Drain() returns, not some time later.
  EXPECT_TRUE(running->ended());
  EXPECT_TRUE(queued->ended());
  EXPECT_EQ(running->tokens(), Expected(0, {1}, 20));
  EXPECT_EQ(queued->tokens(), Expected(1, {1}, 20));
}

TEST_F(EngineEndingsTest, DrainingFailsWhatDoesNotEndInTime) {
  Start({.max_queued = 10,
         .max_running = 1,
         .step = {.step_tokens = 512, .max_state_wait = absl::ZeroDuration()}});
  executor_->SetForwardHook([](auto) {
    absl::SleepFor(absl::Milliseconds(5));
    return absl::OkStatus();
  });
  const Observer running = Submit(0, {1}, 60);
  const Observer queued = Submit(1, {1}, 60);
  ASSERT_TRUE(running->WaitForTokens(1));
  engine_->Drain(absl::Milliseconds(10));
  EXPECT_TRUE(running->ended());
  EXPECT_TRUE(queued->ended());
  EXPECT_THAT(running->status(), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(queued->status(), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(executor_->kv_used_bytes(), 0);
  EXPECT_EQ(pins_, 0);
  EXPECT_EQ(engine_->stats().failed, 2);
}

TEST_F(EngineEndingsTest, ADrainingEngineTakesNothingMore) {
  Start();
  const auto gate = CloseGate();
  const Observer running = Submit(0, {1}, 3);
  gate->WaitForStep();
  std::thread drainer([&] { engine_->Drain(absl::Minutes(1)); });
  auto refused = std::make_shared<RecordingObserver>();
  absl::Status status;
  do {
    status = engine_->Submit(Request(0, {1}, 3, refused)).status();
    if (status.ok()) refused = std::make_shared<RecordingObserver>();
  } while (status.ok() || absl::IsResourceExhausted(status));
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnavailable));
  gate->Open();
  drainer.join();
  EXPECT_THAT(running->status(), IsOk());
  EXPECT_FALSE(refused->ended());
  EXPECT_THAT(engine_->Apply(State(0), SteadyTime::InfiniteFuture()),
              StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(engine_->Verify(SteadyTime::InfiniteFuture()).status(),
              StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(EngineEndingsTest, ASecondDrainCutsTheFirstShort) {
  Start();
  executor_->SetForwardHook([](auto) {
    absl::SleepFor(absl::Milliseconds(5));
    return absl::OkStatus();
  });
  std::vector<Observer> observers;
  for (int i = 0; i < 200; ++i) observers.push_back(Submit(i % 3, {1}, 60));
  std::thread patient([&] { engine_->Drain(absl::InfiniteDuration()); });
  engine_->Drain(absl::ZeroDuration());
  patient.join();
  for (const Observer& observer : observers) EXPECT_TRUE(observer->ended());
  EXPECT_THAT(observers.back()->status(), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(EngineEndingsTest, DestroyingTheEngineEndsEverything) {
  Start();
  std::vector<Observer> observers;
  for (int i = 0; i < 20; ++i) observers.push_back(Submit(i % 3, {1}, 60));
  engine_.reset();
  for (const Observer& observer : observers) EXPECT_TRUE(observer->ended());
  EXPECT_EQ(pins_, 0);
}

}  // namespace
}  // namespace shira
