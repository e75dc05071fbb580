#include "server/engine/engine.h"

#include <algorithm>
#include <limits>
#include <set>
#include <string>

#include "base/steady_clock.h"
#include "tests/server/engine/engine_fixture.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::FakeModelExecutor;
using ::shira::testing::Fingerprint;
using ::shira::testing::IsOk;
using ::shira::testing::RecordingObserver;
using ::shira::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class EngineTest : public testing::EngineFixture {
 protected:
  // The weights of each step, equal neighbours once.
  std::vector<Fingerprint> WeightsInOrder() const {
    std::vector<Fingerprint> order;
    for (const auto& step : executor_->trace()) {
      for (const auto& row : step) {
        if (order.empty() || order.back() != row.weights) order.push_back(row.weights);
      }
    }
    return order;
  }
};

TEST_F(EngineTest, AGenerationGivesItsTokensAndEndsAtItsLength) {
  Start();
  const Observer observer = Submit(0, {5, 6, 7}, 10);
  const auto result = observer->result();
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(observer->tokens(), Expected(0, {5, 6, 7}, 10));
  EXPECT_EQ(result->choices.at(0).reason, FinishReason::kLength);
  EXPECT_EQ(result->choices.at(0).completion_tokens, 10);
  EXPECT_EQ(executor_->capacities(), std::vector<int64_t>{13});
  EXPECT_EQ(executor_->kv_used_bytes(), 0);
  EXPECT_EQ(pins_, 0);
}

TEST_F(EngineTest, EveryGenerationIsAnsweredUnderItsOwnWeights) {
  Start({.max_queued = 100,
         .max_running = 5,
         .step = {.step_tokens = 3, .max_state_wait = absl::ZeroDuration()}});
  struct Case {
    int adapter;
    std::vector<int32_t> prompt;
    int64_t count;
    Observer observer;
  };
  std::vector<Case> cases;
  for (int i = 0; i < 24; ++i) {
    Case c{i % 4, Prompt(1 + i % 9, i), 2 + i % 13, nullptr};
    c.observer = Submit(c.adapter, c.prompt, c.count);
    cases.push_back(std::move(c));
  }
  for (const Case& c : cases) {
    ASSERT_TRUE(c.observer->result().has_value()) << c.observer->status();
    EXPECT_EQ(c.observer->tokens(), Expected(c.adapter, c.prompt, c.count));
  }
}

TEST_F(EngineTest, RowsOfOneStateShareStepsAndPromptsAreChunked) {
  Start({.max_queued = 100,
         .max_running = 8,
         .step = {.step_tokens = 4, .max_state_wait = absl::ZeroDuration()}});
  const auto gate = CloseGate();
  const Observer first = Submit(0, Prompt(2), 4);
  gate->WaitForStep();
  const Observer second = Submit(0, Prompt(10), 3);
  gate->Open();
  first->Wait();
  second->Wait();
  std::vector<std::vector<std::pair<int64_t, int64_t>>> steps;
  for (const auto& step : executor_->trace()) {
    auto& rows = steps.emplace_back();
    for (const auto& row : step) rows.push_back({row.sequence, row.tokens});
  }
  using Rows = std::vector<std::pair<int64_t, int64_t>>;
  EXPECT_THAT(steps, ElementsAre(Rows{{0, 2}}, Rows{{0, 1}, {1, 4}}, Rows{{0, 1}, {1, 4}},
                                 Rows{{0, 1}, {1, 2}}, Rows{{1, 1}}, Rows{{1, 1}}));
}

TEST_F(EngineTest, AStateIsFinishedBeforeTheNextOneWhileNobodyWaitsTooLong) {
  Start({.max_queued = 100,
         .max_running = 8,
         .step = {.max_state_wait = absl::Hours(1), .row_patching = RowPatching::kOff}});
  const auto gate = CloseGate();
  std::vector<Observer> observers = {Submit(1, {1}, 3)};
  gate->WaitForStep();
  for (const int adapter : {2, 1, 2, 0, 1}) observers.push_back(Submit(adapter, {1}, 3));
  gate->Open();
  for (const Observer& observer : observers) observer->Wait();
  EXPECT_THAT(WeightsInOrder(), ElementsAre(WeightsOf(1), WeightsOf(2), WeightsOf(0)));
  EXPECT_EQ(engine_->stats().switches, 3);
}

TEST_F(EngineTest, WithoutPatienceStatesTakeTurns) {
  Start({.max_queued = 100,
         .max_running = 8,
         .step = {.max_state_wait = absl::ZeroDuration(), .row_patching = RowPatching::kOff}});
  const auto gate = CloseGate();
  const Observer first = Submit(1, {1}, 3);
  gate->WaitForStep();
  const Observer second = Submit(2, {1}, 3);
  gate->Open();
  first->Wait();
  second->Wait();
  EXPECT_THAT(WeightsInOrder(), ElementsAre(WeightsOf(1), WeightsOf(2), WeightsOf(1), WeightsOf(2),
                                            WeightsOf(1), WeightsOf(2)));
}

TEST_F(EngineTest, NoMoreThanMaxRunningHoldMemoryAndTheOthersFollowInOrder) {
  Start({.max_queued = 100,
         .max_running = 2,
         .step = {.step_tokens = 512, .max_state_wait = absl::ZeroDuration()}});
  const auto gate = CloseGate();
  std::vector<Observer> observers = {Submit(0, {1}, 2)};
  gate->WaitForStep();
  for (int i = 0; i < 5; ++i) observers.push_back(Submit(0, {1}, 2));
  EXPECT_EQ(engine_->stats().queued, 5);
  EXPECT_EQ(engine_->stats().running, 1);
  gate->Open();
  for (const Observer& observer : observers) observer->Wait();
  int64_t newest = -1;
  for (const auto& step : executor_->trace()) {
    EXPECT_LE(step.size(), 2u);
    for (const auto& row : step) {
      EXPECT_LE(row.sequence, newest + 1);
      newest = std::max(newest, row.sequence);
    }
  }
}

TEST_F(EngineTest, OneThatFindsNoKvMemoryWaitsAndIsPassedByASmallerOne) {
  FakeModelExecutor::Options model;
  model.kv_budget_tokens = 10;
  Start({}, model);
  const auto gate = CloseGate();
  const Observer first = Submit(0, {1, 2}, 4);
  gate->WaitForStep();
  const Observer second = Submit(1, {3, 4}, 4);
  const Observer third = Submit(0, {5}, 1);
  gate->Open();
  EXPECT_THAT(first->status(), IsOk());
  EXPECT_THAT(second->status(), IsOk());
  EXPECT_THAT(third->status(), IsOk());
  EXPECT_EQ(second->tokens(), Expected(1, {3, 4}, 4));
  EXPECT_THAT(executor_->capacities(), ElementsAre(6, 2, 6));
}

TEST_F(EngineTest, OneThatFindsNoKvMemoryIsPassedByAFewOnly) {
  FakeModelExecutor::Options model;
  model.kv_budget_tokens = 10;
  Start({.max_bypassed = 2}, model);
  const auto gate = CloseGate();
  std::vector<Observer> observers = {Submit(0, {1, 2}, 4)};
  gate->WaitForStep();
  observers.push_back(Submit(0, {3, 4}, 7));
  for (int i = 0; i < 5; ++i) observers.push_back(Submit(0, {5}, 2));
  gate->Open();
  for (const Observer& observer : observers) EXPECT_THAT(observer->status(), IsOk());
  const std::vector<int64_t> capacities = executor_->capacities();
  EXPECT_EQ(std::find(capacities.begin(), capacities.end(), 9) - capacities.begin(), 3);
}

TEST_F(EngineTest, WhatTheKvMemoryCanHoldIsTheLongestAnswer) {
  FakeModelExecutor::Options model;
  model.kv_budget_tokens = 10;
  Start({}, model);
  EXPECT_EQ(engine_->context_length(), 10);
  const auto result = Submit(0, {1, 2}, 20)->result();
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->choices.at(0).completion_tokens, 8);
  auto observer = std::make_shared<RecordingObserver>();
  EXPECT_THAT(engine_->Submit(Request(0, Prompt(10), 1, observer)),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(EngineTest, StopTokensAndTheEndOfTheContextEndAGeneration) {
  Start();
  const std::vector<int32_t> expected = Expected(0, {1, 2}, 5);
  // The first one that did not occur before.
  size_t stop = 1;
  while (std::count(expected.begin(), expected.begin() + stop, expected[stop]) > 0) ++stop;
  auto observer = std::make_shared<RecordingObserver>();
  GenerationRequest request = Request(0, {1, 2}, 100, observer);
  request.stop_tokens = {expected[stop]};
  ASSERT_THAT(engine_->Submit(std::move(request)), IsOk());
  ASSERT_TRUE(observer->result().has_value());
  EXPECT_EQ(observer->result()->choices.at(0).reason, FinishReason::kStop);
  EXPECT_EQ(observer->result()->choices.at(0).stop_token, expected[stop]);
  EXPECT_EQ(observer->tokens(), std::vector<int32_t>(expected.begin(), expected.begin() + stop));

  const Observer longest = Submit(0, Prompt(60), 1'000'000);
  ASSERT_TRUE(longest->result().has_value());
  EXPECT_EQ(longest->result()->choices.at(0).reason, FinishReason::kLength);
  EXPECT_EQ(longest->result()->choices.at(0).completion_tokens, 4);
}

TEST_F(EngineTest, TheObserverMayStopAGeneration) {
  Start();
  int seen = 0;
  auto observer = std::make_shared<RecordingObserver>([&](const GeneratedToken&) {
    return ++seen == 3 ? GenerationObserver::Verdict::kStop
                       : GenerationObserver::Verdict::kContinue;
  });
  ASSERT_THAT(engine_->Submit(Request(0, {1}, 50, observer)), IsOk());
  ASSERT_TRUE(observer->result().has_value());
  EXPECT_EQ(observer->result()->choices.at(0).reason, FinishReason::kStop);
  EXPECT_EQ(observer->result()->choices.at(0).stop_token, std::nullopt);
  EXPECT_EQ(observer->tokens().size(), 3u);
}

TEST_F(EngineTest, TheObserverMaySubmitTheNextGeneration) {
  Start();
  auto second = std::make_shared<RecordingObserver>();
  auto first = std::make_shared<RecordingObserver>(
      nullptr, [&] { EXPECT_THAT(engine_->Submit(Request(1, {2}, 3, second)), IsOk()); });
  ASSERT_THAT(engine_->Submit(Request(0, {1}, 2, first)), IsOk());
  EXPECT_THAT(second->status(), IsOk());
  EXPECT_EQ(second->tokens(), Expected(1, {2}, 3));
}

TEST_F(EngineTest, RefusesRequestsThatCannotRun) {
  Start();
  auto observer = std::make_shared<RecordingObserver>();
  EXPECT_THAT(engine_->Submit(Request(0, Prompt(64), 1, observer)),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(engine_->Submit(Request(0, {FakeModelExecutor::kVocabSize}, 1, observer)),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(pins_, 0);
  engine_.reset();
  EXPECT_FALSE(observer->ended());
}

TEST_F(EngineTest, AFullQueueRefuses) {
  Start({.max_queued = 2,
         .max_running = 1,
         .step = {.step_tokens = 512, .max_state_wait = absl::ZeroDuration()}});
  const auto gate = CloseGate();
  const Observer running = Submit(0, {1}, 2);
  gate->WaitForStep();
  const Observer second = Submit(0, {1}, 2);
  const Observer third = Submit(0, {1}, 2);
  auto refused = std::make_shared<RecordingObserver>();
  EXPECT_THAT(engine_->Submit(Request(1, {1}, 2, refused)),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(pins_, 3);
  gate->Open();
  for (const Observer& observer : {running, second, third}) EXPECT_THAT(observer->status(), IsOk());
  engine_.reset();
  EXPECT_FALSE(refused->ended());
}

TEST_F(EngineTest, CountsWhatItDid) {
  Start();
  Submit(0, Prompt(5), 3)->Wait();
  Submit(1, Prompt(7), 4)->Wait();
  const EngineStats stats = engine_->stats();
  EXPECT_EQ(stats.queued, 0);
  EXPECT_EQ(stats.running, 0);
  EXPECT_EQ(stats.finished, 2);
  EXPECT_EQ(stats.failed, 0);
  EXPECT_EQ(stats.prompt_tokens, 12);
  EXPECT_EQ(stats.generated_tokens, 7);
  EXPECT_EQ(stats.switches, 1);
  EXPECT_GT(stats.switch_time, absl::ZeroDuration());
  EXPECT_EQ(stats.kv_used_bytes, 0);
  EXPECT_EQ(stats.kv_budget_bytes, 1000);
  EXPECT_EQ(stats.fused_steps, 7);
  EXPECT_EQ(stats.patched_steps, 0);
  EXPECT_EQ(stats.step_rows, 7);
  EXPECT_EQ(stats.step_time.count, 7);
}

TEST_F(EngineTest, HigherPriorityIsTakenFirst) {
  Start({.max_running = 1});
  const auto gate = CloseGate();
  const Observer running = Submit(0, {1}, 2);
  gate->WaitForStep();
  std::vector<int> order;  // written by the engine's thread alone
  const auto submit = [&](int32_t priority) {
    auto observer = std::make_shared<RecordingObserver>(
        nullptr, [&order, priority] { order.push_back(priority); });
    GenerationRequest request = Request(0, {1}, 2, observer);
    request.priority = priority;
    EXPECT_THAT(engine_->Submit(std::move(request)), IsOk());
    return observer;
  };
  const std::vector<Observer> observers = {submit(0), submit(50), submit(-50)};
  gate->Open();
  for (const Observer& observer : observers) observer->Wait();
  EXPECT_THAT(order, ElementsAre(50, 0, -50));
}

TEST_F(EngineTest, AClientWithAFullQueueLeavesOthersTheirTurn) {
  Start({.max_running = 1});
  const auto gate = CloseGate();
  std::string order;  // written by the engine's thread alone
  const auto submit = [&](const char* client) {
    auto observer =
        std::make_shared<RecordingObserver>(nullptr, [&order, client] { order += client; });
    GenerationRequest request = Request(0, {1}, 2, observer);
    request.client = client;
    EXPECT_THAT(engine_->Submit(std::move(request)), IsOk());
    return observer;
  };
  std::vector<Observer> observers = {submit("a")};
  gate->WaitForStep();
  for (const char* client : {"a", "a", "a", "a", "b", "b", "c"}) {
    observers.push_back(submit(client));
  }
  gate->Open();
  for (const Observer& observer : observers) observer->Wait();
  EXPECT_EQ(order, "abcabaaa");
}

TEST_F(EngineTest, SaysWhyAnswersCanNeverFit) {
  Start({.max_running = 8, .max_choices = 8},
        {.context_length = 64, .kv_budget_tokens = 100, .page_tokens = 1});
  const std::vector<int32_t> prompt = {1, 2};
  EXPECT_THAT(engine_->CheckAnswers(prompt, 60, 1), IsOk());
  EXPECT_THAT(
      engine_->CheckAnswers(prompt, 60, 2),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("2 answers of up to 60 tokens each")));
  EXPECT_THAT(engine_->CheckAnswers(prompt, 10, 8), IsOk());
  // Too long whatever is to be answered: Submit() says so.
  EXPECT_THAT(engine_->CheckAnswers(std::vector<int32_t>(64, 1), 60, 8), IsOk());
}

TEST_F(EngineTest, WindowsMakeRoomForLongerRequestsAndMoreAnswers) {
  const auto start = [&](std::vector<int64_t> windows) {
    Start({.max_running = 8, .max_choices = 8, .step = {.step_tokens = 8}},
          {.context_length = 90,
           .kv_budget_tokens = 160,
           .page_tokens = 4,
           .windows = std::move(windows),
           .chunk_tokens = 8});
  };
  const std::vector<int32_t> prompt = Prompt(40);
  start({0, 0});
  EXPECT_EQ(engine_->context_length(), 80);
  EXPECT_THAT(engine_->CheckAnswers(prompt, 20, 3),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("need 200 bytes")));
  start({10, 10});
  EXPECT_EQ(engine_->context_length(), 90);
  EXPECT_THAT(engine_->CheckAnswers(prompt, 20, 3), IsOk());
  // One that could never fit without windows, and another one beside it.
  GenerationRequest request = Request(0, prompt, 40, std::make_shared<RecordingObserver>());
  request.choices = 2;
  const auto observer = std::static_pointer_cast<RecordingObserver>(request.observer);
  ASSERT_THAT(engine_->Submit(std::move(request)), IsOk());
  const Observer other = Submit(0, prompt, 20);
  for (int32_t choice = 0; choice < 2; ++choice) {
    EXPECT_TRUE(observer->Wait());
    EXPECT_EQ(observer->tokens(choice), Expected(0, prompt, 40));
  }
  EXPECT_TRUE(other->Wait());
  EXPECT_EQ(other->tokens(), Expected(0, prompt, 20));
  EXPECT_EQ(executor_->kv_used_bytes(), 0);
}

TEST_F(EngineTest, ARequestWhoseLogitsAreNotFiniteEndsAndOthersGoOn) {
  Start();
  const auto gate = CloseGate();
  const Observer damaged = Submit(0, {1}, 6);
  gate->WaitForStep();
  const Observer good = Submit(0, {2}, 6);
  executor_->SpoilLogits(0, std::numeric_limits<float>::quiet_NaN());
  gate->Open();
  EXPECT_THAT(damaged->status(), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(good->status(), IsOk());
  EXPECT_EQ(good->tokens(), Expected(0, {2}, 6));
  EXPECT_EQ(engine_->stats().not_finite, 1);
}

TEST_F(EngineTest, RowsOfSeveralStatesShareAStep) {
  Start();
  const auto gate = CloseGate();
  const Observer first = Submit(1, {1}, 6);
  gate->WaitForStep();
  const Observer second = Submit(2, {2}, 6);
  const Observer third = Submit(1, {3}, 6);
  gate->Open();
  EXPECT_THAT(first->status(), IsOk());
  EXPECT_THAT(second->status(), IsOk());
  EXPECT_EQ(first->tokens(), Expected(1, {1}, 6));
  EXPECT_EQ(second->tokens(), Expected(2, {2}, 6));
  EXPECT_EQ(third->tokens(), Expected(1, {3}, 6));
  const EngineStats stats = engine_->stats();
  EXPECT_GT(stats.patched_steps, 0);
  EXPECT_GT(stats.patched_rows, 0);
}

TEST_F(EngineTest, ReportsTheTimesOfEachPhase) {
  Start();
  executor_->SetForwardHook([](auto) {
    absl::SleepFor(absl::Milliseconds(2));
    return absl::OkStatus();
  });
  const SteadyTime before = SteadyNow();
  const auto result = Submit(1, Prompt(5), 3)->result();
  const absl::Duration total = SteadyNow() - before;
  ASSERT_TRUE(result.has_value());
  const GenerationTimings& timings = result->timings;
  EXPECT_GE(timings.queue, absl::ZeroDuration());
  EXPECT_GT(timings.switching, absl::ZeroDuration());
  EXPECT_GE(timings.prefill, absl::Milliseconds(2));
  EXPECT_GE(timings.decode, absl::Milliseconds(4));
  EXPECT_LE(timings.queue + timings.switching + timings.prefill + timings.decode, total);
}

// ---- Control operations -------------------------------------------------------------------------

TEST_F(EngineTest, ApplyMakesAStateResidentAndRevertPutsTheBaseBack) {
  Start();
  ASSERT_OK_AND_ASSIGN(const SwitchStats applied,
                       engine_->Apply(State(1), SteadyTime::InfiniteFuture()));
  EXPECT_GT(applied.written, 0);
  EXPECT_EQ(testing::FingerprintOf(weights_.data()), WeightsOf(1));
  ASSERT_OK_AND_ASSIGN(VerifyReport report, engine_->Verify(SteadyTime::InfiniteFuture()));
  EXPECT_TRUE(report.matches_expected);
  EXPECT_FALSE(report.matches_base);

  // Without a switch, since the state is there.
  const Observer observer = Submit(1, {1}, 3);
  EXPECT_THAT(observer->status(), IsOk());
  EXPECT_EQ(engine_->stats().switches, 1);
  ASSERT_OK_AND_ASSIGN(const SwitchStats again,
                       engine_->Apply(State(1), SteadyTime::InfiniteFuture()));
  EXPECT_EQ(again.duration, absl::ZeroDuration());
  EXPECT_EQ(engine_->stats().switches, 1);

  ASSERT_THAT(engine_->Apply(State(0), SteadyTime::InfiniteFuture()), IsOk());
  ASSERT_OK_AND_ASSIGN(report, engine_->Verify(SteadyTime::InfiniteFuture()));
  EXPECT_TRUE(report.matches_base);
  EXPECT_EQ(engine_->stats().switches, 2);
}

TEST_F(EngineTest, ApplyBetweenTheStepsOfAGenerationChangesNoToken) {
  Start({.max_queued = 100,
         .max_running = 8,
         .step = {.step_tokens = 2, .max_state_wait = absl::Hours(1)}});
  const Observer observer = Submit(1, Prompt(9), 40);
  while (!observer->ended()) {
    for (const int adapter : {2, 0}) {
      ASSERT_THAT(engine_->Apply(State(adapter), SteadyTime::InfiniteFuture()), IsOk());
    }
  }
  EXPECT_EQ(observer->tokens(), Expected(1, Prompt(9), 40));
}

TEST_F(EngineTest, AControlOperationWhoseTurnDoesNotComeWritesNothing) {
  Start();
  const auto gate = CloseGate();
  const Observer observer = Submit(0, {1}, 2);
  gate->WaitForStep();
  EXPECT_THAT(engine_->Apply(State(1), SteadyNow() + absl::Milliseconds(10)),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_THAT(engine_->Verify(SteadyNow() + absl::Milliseconds(10)).status(),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
  gate->Open();
  observer->Wait();
  ASSERT_OK_AND_ASSIGN(const VerifyReport report, engine_->Verify(SteadyTime::InfiniteFuture()));
  EXPECT_TRUE(report.matches_base);
  EXPECT_EQ(engine_->stats().switches, 0);
}

TEST_F(EngineTest, ApplyNeedsAState) {
  Start();
  EXPECT_THAT(engine_->Apply(StateHandle(), SteadyTime::InfiniteFuture()),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace shira
