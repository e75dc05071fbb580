// Drafted tokens change nothing but the time: every kind of request is answered with and without, by
// a model whose texts repeat themselves, so that drafts are right often, and wrong often.

#include <algorithm>
#include <random>
#include <vector>

#include "base/steady_clock.h"
#include "tests/server/engine/engine_fixture.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::FakeModelExecutor;
using ::shira::testing::IsOk;
using ::shira::testing::RecordingObserver;
using ::shira::testing::StatusIs;
using ::testing::SizeIs;

using Tokens = std::vector<int32_t>;
using Verdict = GenerationObserver::Verdict;

// All that a client may see, in order.
struct Heard {
  std::vector<Tokens> tokens;                // by choice
  std::vector<std::vector<float>> logprobs;  // of the tokens, and of their alternatives
  std::vector<FinishReason> reasons;         // by choice; none when it failed
  std::vector<std::optional<int32_t>> stop_tokens;
  std::vector<int64_t> completion_tokens;
  absl::StatusCode status = absl::StatusCode::kOk;

  bool operator==(const Heard&) const = default;
};

Heard HeardBy(const RecordingObserver& observer, int32_t choices) {
  Heard heard;
  heard.status = observer.status().code();
  heard.tokens.resize(choices);
  heard.logprobs.resize(choices);
  for (const GeneratedToken& token : observer.generated()) {
    heard.tokens[token.choice].push_back(token.token);
    if (!token.logprobs.has_value()) continue;
    std::vector<float>& logprobs = heard.logprobs[token.choice];
    logprobs.push_back(token.logprobs->chosen.logprob);
    for (const TokenProbability& top : token.logprobs->top) {
      logprobs.push_back(static_cast<float>(top.token));
      logprobs.push_back(top.logprob);
    }
  }
  if (const std::optional<GenerationResult> result = observer.result()) {
    for (const ChoiceResult& choice : result->choices) {
      heard.reasons.push_back(choice.reason);
      heard.stop_tokens.push_back(choice.stop_token);
      heard.completion_tokens.push_back(choice.completion_tokens);
    }
  }
  return heard;
}

class SpeculationTest : public testing::EngineFixture {
 protected:
  // Texts of four tokens, each of which follows from the three before it.
  static FakeModelExecutor::Options Repeating() {
    FakeModelExecutor::Options model;
    model.context_length = 300;
    model.kv_budget_tokens = 3000;
    model.page_tokens = 4;
    model.memory_tokens = 3;
    model.answer_tokens = 4;
    return model;
  }
  // Steps take the same time however many rows they have, or twice as long for twice as many.
  static Engine::Options Options(bool speculate, bool rows_are_free = true) {
    Engine::Options options;
    options.speculate = speculate;
    StepCosts::Coefficients c;
    c.context_token = c.prefill_token = c.patched_state = c.patched_entry = c.patched_token = 0.0;
    for (size_t i = 0; i < c.step.size(); ++i) {
      c.step[i] = rows_are_free ? 1.0 : static_cast<double>(StepCosts::kRows[i]);
    }
    options.costs = StepCosts(c);
    options.learn_costs = false;
    return options;
  }

  // What the steps of the last run had.
  int64_t MostDrafted() const {
    int64_t most = 0;
    for (const auto& step : executor_->trace()) {
      for (const auto& row : step) most = std::max(most, row.drafted);
    }
    return most;
  }

  Heard Answer(GenerationRequest request) {
    auto observer = std::make_shared<RecordingObserver>();
    request.observer = observer;
    const int32_t choices = request.choices;
    EXPECT_THAT(engine_->Submit(std::move(request)), IsOk());
    Heard heard = HeardBy(*observer, choices);
    if (const auto result = observer->result()) drafts_ = result->drafts;
    return heard;
  }

  // The same request to an engine without speculation and to one with it. Leaves the second running.
  std::pair<Heard, Heard> Both(std::function<GenerationRequest()> make,
                               FakeModelExecutor::Options model = Repeating()) {
    Start(Options(false), model);
    Heard without = Answer(make());
    EXPECT_EQ(MostDrafted(), 0);
    steps_without_ = executor_->trace().size();
    Start(Options(true), model);
    return {std::move(without), Answer(make())};
  }

  DraftCounts drafts_;  // of the last answer
  size_t steps_without_ = 0;
};

TEST_F(SpeculationTest, DraftsThatAreRightSaveStepsAndChangeNothing) {
  const auto [without, with] = Both([&] { return Request(0, {1, 2, 3}, 200, nullptr); });
  EXPECT_EQ(with, without);
  EXPECT_THAT(with.tokens[0], SizeIs(200));
  EXPECT_GT(drafts_.accepted, 100);
  EXPECT_LE(drafts_.accepted, drafts_.drafted);
  const size_t steps = executor_->trace().size();
  EXPECT_EQ(steps + drafts_.accepted, steps_without_);
  EXPECT_EQ(MostDrafted(), kMostDraftTokens);
  const EngineStats stats = engine_->stats();
  EXPECT_EQ(stats.generated_tokens, 200);
  EXPECT_EQ(stats.drafted_tokens, drafts_.drafted);
  EXPECT_EQ(stats.accepted_tokens, drafts_.accepted);
}

TEST_F(SpeculationTest, DraftsThatAreWrongChangeNothing) {
  FakeModelExecutor::Options model = Repeating();
  model.memory_tokens = 0;  // nothing that follows can be known from a part of the text
  Tokens prompt;
  for (int i = 0; i < 40; ++i) prompt.push_back(i % 5);
  const auto request = [&] {
    GenerationRequest request = Request(1, prompt, 60, nullptr);
    // A text that repeats pairs of tokens, which nothing certain follows.
    request.sampling = {.temperature = 1.0f, .logit_bias = {{1, 7.0f}, {2, 7.0f}}, .seed = 5};
    return request;
  };
  const auto [without, with] = Both(request, model);
  EXPECT_EQ(with, without);
  EXPECT_GT(drafts_.drafted, drafts_.accepted + 20);
}

TEST_F(SpeculationTest, WhereItDoesNotPayNothingIsDrafted) {
  Start(Options(true, /*rows_are_free=*/false), Repeating());
  Answer(Request(0, {1, 2, 3}, 200, nullptr));
  EXPECT_EQ(MostDrafted(), 0);
  EXPECT_EQ(drafts_.drafted, 0);
}

TEST_F(SpeculationTest, ARequestSaysWhetherToSpeculate) {
  for (const bool by_default : {false, true}) {
    Start(Options(by_default), Repeating());
    GenerationRequest request = Request(0, {1, 2, 3}, 100, nullptr);
    request.speculate = !by_default;
    Answer(std::move(request));
    EXPECT_EQ(drafts_.drafted > 0, !by_default);
    Answer(Request(0, {1, 2, 3}, 100, nullptr));
    EXPECT_EQ(drafts_.drafted > 0, by_default);
  }
}

TEST_F(SpeculationTest, WithoutExactRowsNothingIsDrafted) {
  FakeModelExecutor::Options model = Repeating();
  model.exact_rows = false;
  Start(Options(true), model);
  GenerationRequest request = Request(0, {1, 2, 3}, 100, nullptr);
  request.speculate = true;
  Answer(std::move(request));
  EXPECT_EQ(MostDrafted(), 0);
}

TEST_F(SpeculationTest, AnAnswerEndsAtEveryPlaceOfADraft) {
  Start(Options(false), Repeating());
  const Heard whole = Answer(Request(0, {1, 2, 3}, 80, nullptr));
  Start(Options(true), Repeating());
  for (int64_t length = 1; length <= 80; ++length) {
    const Tokens expected(whole.tokens[0].begin(), whole.tokens[0].begin() + length);
    // By max_tokens.
    EXPECT_EQ(Answer(Request(0, {1, 2, 3}, length, nullptr)).tokens[0], expected);
    // By a stop string, which the observer sees.
    int64_t seen = 0;
    auto observer = std::make_shared<RecordingObserver>([&](const GeneratedToken&) {
      return ++seen == length ? Verdict::kStop : Verdict::kContinue;
    });
    ASSERT_THAT(engine_->Submit(Request(0, {1, 2, 3}, 200, observer)), IsOk());
    const Heard stopped = HeardBy(*observer, 1);
    EXPECT_EQ(stopped.tokens[0], expected);
    EXPECT_EQ(stopped.reasons.at(0), FinishReason::kStop);
  }
  EXPECT_GT(engine_->stats().accepted_tokens, 1000);
}

TEST_F(SpeculationTest, StopTokensEndAnAnswerWithinADraft) {
  for (int32_t stop = 0; stop < 4; ++stop) {
    const auto [without, with] = Both([&] {
      GenerationRequest request = Request(0, {0, 1, 2, 3, 0, 1, 2, 3, 0, 1}, 100, nullptr);
      request.stop_tokens = {stop};
      return request;
    });
    EXPECT_EQ(with, without) << stop;
  }
}

TEST_F(SpeculationTest, CancellationAndDeadlinesHoldBetweenTheTokensOfADraft) {
  for (const bool expires : {false, true}) {
    for (const size_t after : {30, 31, 32, 33, 37, 41}) {
      for (const bool speculate : {false, true}) {
        Start(Options(speculate), Repeating());
        auto cancellation = std::make_shared<CancellationToken>();
        const SteadyTime deadline = SteadyNow() + absl::Milliseconds(expires ? 200 : 60'000);
        size_t seen = 0;
        auto observer = std::make_shared<RecordingObserver>([&](const GeneratedToken&) {
          if (++seen != after) return Verdict::kContinue;
          if (!expires) cancellation->Cancel();
          while (expires && SteadyNow() < deadline) absl::SleepFor(absl::Milliseconds(1));
          return Verdict::kContinue;
        });
        GenerationRequest request = Request(0, {1, 2, 3}, 200, observer);
        request.cancellation = cancellation;
        request.deadline = deadline;
        ASSERT_THAT(engine_->Submit(std::move(request)), IsOk());
        EXPECT_THAT(observer->status(), StatusIs(expires ? absl::StatusCode::kDeadlineExceeded
                                                         : absl::StatusCode::kCancelled));
        EXPECT_THAT(observer->tokens(), SizeIs(after)) << speculate;
        EXPECT_EQ(MostDrafted() > 0, speculate);
      }
    }
  }
}

TEST_F(SpeculationTest, LogitsThatAreNotFiniteEndItAtTheSameToken) {
  Start(Options(true), Repeating());
  // They are at every place of a draft: only the first one counts.
  executor_->SpoilLogits(0, std::numeric_limits<float>::quiet_NaN());
  const Heard heard = Answer(Request(0, {1, 2, 3}, 100, nullptr));
  EXPECT_EQ(heard.status, absl::StatusCode::kDataLoss);
  EXPECT_THAT(heard.tokens[0], SizeIs(0));
}

TEST_F(SpeculationTest, KeptPrefixesAreThoseWithoutIt) {
  std::vector<int64_t> cached[2];
  for (const bool speculate : {false, true}) {
    Engine::Options options = Options(speculate);
    options.max_prefixes = 100;
    Start(options, Repeating());
    Tokens conversation = {1, 2, 3};
    for (int turn = 0; turn < 6; ++turn) {
      auto observer = std::make_shared<RecordingObserver>();
      ASSERT_THAT(engine_->Submit(Request(2, conversation, 7 + 6 * turn, observer)), IsOk());
      ASSERT_THAT(observer->status(), IsOk());
      cached[speculate].push_back(observer->result()->cached_prompt_tokens);
      for (const int32_t token : observer->tokens()) conversation.push_back(token);
      conversation.push_back(turn % 4);
    }
    EXPECT_EQ(engine_->stats().accepted_tokens > 20, speculate);
  }
  EXPECT_EQ(cached[1], cached[0]);
}

// Random requests, in which every kind of thing occurs.
GenerationRequest RandomRequest(std::mt19937& random) {
  GenerationRequest request;
  const size_t length = 1 + random() % 40;
  std::mt19937 text(random() % 3);  // some begin alike
  while (request.prompt.size() < length) {
    request.prompt.push_back(static_cast<int32_t>(text() % 4));
  }
  request.max_tokens = 1 + static_cast<int64_t>(random() % 90);
  if (random() % 3 == 0) request.choices = 2 + static_cast<int32_t>(random() % 3);
  if (random() % 2 == 0) {
    request.sampling.temperature = random() % 2 == 0 ? 0.12f : 0.3f;
    request.sampling.seed = random();
    if (random() % 3 == 0) request.sampling.top_p = 0.9f;
    if (random() % 3 == 0) request.sampling.top_k = 3;
    if (random() % 3 == 0) request.sampling.min_p = 0.05f;
  }
  if (random() % 4 == 0) request.sampling.repetition_penalty = 1.05f;
  if (random() % 4 == 0) request.sampling.presence_penalty = 0.1f;
  if (random() % 4 == 0) request.sampling.frequency_penalty = 0.02f;
  if (random() % 4 == 0) request.sampling.logit_bias = {{1, 0.5f}, {5, 0.9f}};
  if (random() % 3 == 0) request.top_logprobs = static_cast<int32_t>(random() % 4);
  if (random() % 4 == 0) request.stop_tokens = {static_cast<int32_t>(random() % 4), 50};
  return request;
}

TEST_F(SpeculationTest, EveryKindOfRequestIsAnsweredTheSameUnderLoad) {
  for (const int64_t kv_tokens : {20'000, 700}) {
    std::vector<std::vector<Heard>> heard;
    for (const bool speculate : {false, true}) {
      FakeModelExecutor::Options model = Repeating();
      model.kv_budget_tokens = kv_tokens;
      Engine::Options options = Options(speculate);
      options.max_running = 12;
      options.max_choices = 4;
      options.max_prefixes = 20;
      options.step.step_tokens = 40;
      options.step.max_state_wait = absl::Microseconds(300);
      Start(options, model);
      std::mt19937 random(11);
      std::vector<std::pair<Observer, int32_t>> observers;
      for (int i = 0; i < 120; ++i) {
        GenerationRequest request = RandomRequest(random);
        request.state = State(static_cast<int>(random() % 4));
        // A stop string: the sum of the tokens so far.
        const int64_t sum = random() % 4 == 0 ? 20 + random() % 60 : 1'000'000;
        auto observer = std::make_shared<RecordingObserver>(
            [sum, sums = std::vector<int64_t>(4)](const GeneratedToken& token) mutable {
              sums[token.choice] += token.token;
              return sums[token.choice] >= sum ? Verdict::kStop : Verdict::kContinue;
            });
        request.observer = observer;
        observers.emplace_back(observer, request.choices);
        ASSERT_THAT(engine_->Submit(std::move(request)), IsOk());
      }
      std::vector<Heard>& all = heard.emplace_back();
      for (const auto& [observer, choices] : observers) all.push_back(HeardBy(*observer, choices));
      const EngineStats stats = engine_->stats();
      EXPECT_EQ(stats.drafted_tokens > 0, speculate);
      if (speculate) {
        EXPECT_GT(stats.accepted_tokens, 200);
        EXPECT_GT(stats.drafted_tokens - stats.accepted_tokens, 200);
        EXPECT_GT(stats.patched_rows, 0);
        EXPECT_TRUE(stats.prefix_hits > 0 || kv_tokens < 1000);
      }
    }
    for (size_t i = 0; i < heard[0].size(); ++i) EXPECT_EQ(heard[1][i], heard[0][i]) << i;
  }
}

}  // namespace
}  // namespace shira
