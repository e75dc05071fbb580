#include "server/engine/sequence.h"

#include <limits>

#include "base/steady_clock.h"
#include "tests/server/engine/engine_fixture.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::RecordingObserver;
using ::shira::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int32_t kVocabSize = 10;
constexpr int64_t kContext = 8;
constexpr Sequence::Limits kLimits = {
    .vocab_size = kVocabSize, .max_sequence_tokens = kContext, .max_choices = 3};

class SequenceTest : public testing::EngineFixture {
 protected:
  GenerationRequest Request(std::vector<int32_t> prompt, int64_t max_tokens) {
    return EngineFixture::Request(0, std::move(prompt), max_tokens, observer_);
  }
  Sequence Make(GenerationRequest request) {
    EXPECT_THAT(Sequence::Check(request, kLimits), IsOk());
    return Sequence(1, std::move(request), kLimits, start_);
  }
  static BatchRow NextRow(const Sequence& sequence, int64_t tokens) {
    std::vector<BatchRow> rows;
    sequence.AddRows(tokens, rows);
    EXPECT_EQ(rows.size(), 1u);
    return rows.at(0);
  }
  static std::vector<float> Favouring(int32_t token) {
    std::vector<float> logits(kVocabSize, 0.0f);
    logits[token] = 1.0f;
    return logits;
  }
  // A step of one millisecond that begins `ms` after the start.
  Sequence::StepTimes Times(int ms, int switching_ms = 0) const {
    const SteadyTime begin = start_ + absl::Milliseconds(ms);
    return {begin, absl::Milliseconds(switching_ms), begin + absl::Milliseconds(1 + switching_ms)};
  }

  const SteadyTime start_ = SteadyNow();
  const Observer observer_ = std::make_shared<RecordingObserver>();
};

TEST_F(SequenceTest, RefusesRequestsThatTheModelCannotRun) {
  const auto check = [](const GenerationRequest& request) {
    return Sequence::Check(request, kLimits);
  };
  const auto invalid = [](const char* text) {
    return StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(text));
  };
  EXPECT_THAT(check(Request({1}, 1)), IsOk());
  EXPECT_THAT(check(Request({}, 1)), invalid("no tokens"));
  EXPECT_THAT(check(Request({1}, 0)), invalid("max_tokens"));
  EXPECT_THAT(check(Request({1, 10}, 1)), invalid("token 10"));
  EXPECT_THAT(check(Request({-1}, 1)), invalid("token -1"));
  EXPECT_THAT(check(Request({1, 2, 3, 4, 5, 6, 7}, 100)), IsOk());
  EXPECT_THAT(check(Request({1, 2, 3, 4, 5, 6, 7, 8}, 1)), invalid("at most 8 fit the context"));
  GenerationRequest request = Request({1}, 1);
  request.sampling.temperature = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(check(request), StatusIs(absl::StatusCode::kInvalidArgument));
  request = Request({1}, 1);
  request.top_logprobs = -1;
  EXPECT_THAT(check(request), invalid("top_logprobs"));
  request = Request({1}, 1);
  request.choices = 4;
  EXPECT_THAT(check(request), invalid("1 to 3 answers"));
  request = Request({1}, 1);
  request.sampling.logit_bias = {{10, 1.0f}};
  EXPECT_THAT(check(request), invalid("logit_bias"));
  request = Request({1}, 1);
  request.state = StateHandle();
  EXPECT_THAT(check(request), invalid("state"));
  request = Request({1}, 1);
  request.observer = nullptr;
  EXPECT_THAT(check(request), invalid("observer"));
}

TEST_F(SequenceTest, RunsThePromptInChunksAndThenTokenByToken) {
  Sequence sequence = Make(Request({1, 2, 3, 4, 5}, 3));
  EXPECT_TRUE(sequence.View(start_).prefill);
  EXPECT_EQ(sequence.View(start_).pending_tokens, 5);
  BatchRow row = NextRow(sequence, 3);
  EXPECT_THAT(row.tokens, ElementsAre(1, 2, 3));
  EXPECT_FALSE(row.wants_logits);
  Sequence::StepOutcome outcome = *sequence.FinishStep(3, {}, Times(0));
  EXPECT_EQ(outcome.prompt_tokens, 3);
  EXPECT_EQ(outcome.emitted_tokens, 0);
  EXPECT_FALSE(sequence.Result().has_value());

  row = NextRow(sequence, 2);
  EXPECT_THAT(row.tokens, ElementsAre(4, 5));
  EXPECT_TRUE(row.wants_logits);
  outcome = *sequence.FinishStep(2, Favouring(7), Times(1));
  EXPECT_EQ(outcome.prompt_tokens, 2);
  EXPECT_EQ(outcome.emitted_tokens, 1);
  EXPECT_FALSE(sequence.View(start_).prefill);
  EXPECT_EQ(sequence.View(start_).pending_tokens, 1);
  EXPECT_THAT(NextRow(sequence, 1).tokens, ElementsAre(7));
  EXPECT_TRUE(NextRow(sequence, 1).wants_logits);
  outcome = *sequence.FinishStep(1, Favouring(8), Times(2));
  EXPECT_EQ(outcome.prompt_tokens, 0);
  outcome = *sequence.FinishStep(1, Favouring(9), Times(3));
  const std::optional<GenerationResult> result = sequence.Result();
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->choices.at(0).reason, FinishReason::kLength);
  EXPECT_EQ(result->choices.at(0).completion_tokens, 3);
  EXPECT_THAT(observer_->tokens(), ElementsAre(7, 8, 9));
}

TEST_F(SequenceTest, MaxTokensIsCutToTheRoomInTheContext) {
  Sequence sequence = Make(Request({1, 2, 3, 4, 5, 6}, 1'000'000));
  EXPECT_EQ(sequence.kv_demand().tokens, kContext);
  EXPECT_THAT(sequence.FinishStep(6, Favouring(1), Times(0)), IsOk());
  EXPECT_THAT(sequence.FinishStep(1, Favouring(1), Times(1)), IsOk());
  const std::optional<GenerationResult> result = sequence.Result();
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->choices.at(0).reason, FinishReason::kLength);
  EXPECT_EQ(result->choices.at(0).completion_tokens, 2);
  EXPECT_EQ(Make(Request({1}, 2)).kv_demand().tokens, 3);
}

TEST_F(SequenceTest, AStopTokenEndsItUnseenByTheObserver) {
  GenerationRequest request = Request({1}, 5);
  request.stop_tokens = {3, 4};
  Sequence sequence = Make(std::move(request));
  EXPECT_THAT(sequence.FinishStep(1, Favouring(7), Times(0)), IsOk());
  const auto outcome = *sequence.FinishStep(1, Favouring(4), Times(1));
  EXPECT_EQ(outcome.emitted_tokens, 0);
  const std::optional<GenerationResult> result = sequence.Result();
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->choices.at(0).reason, FinishReason::kStop);
  EXPECT_EQ(result->choices.at(0).stop_token, 4);
  EXPECT_EQ(result->choices.at(0).completion_tokens, 1);
  EXPECT_THAT(observer_->tokens(), ElementsAre(7));
}

TEST_F(SequenceTest, TheObserverCanStopIt) {
  GenerationRequest request = Request({1}, 5);
  request.observer = std::make_shared<RecordingObserver>(
      [](const GeneratedToken&) { return GenerationObserver::Verdict::kStop; });
  Sequence sequence = Make(std::move(request));
  EXPECT_THAT(sequence.FinishStep(1, Favouring(7), Times(0)), IsOk());
  const std::optional<GenerationResult> result = sequence.Result();
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->choices.at(0).reason, FinishReason::kStop);
  EXPECT_EQ(result->choices.at(0).stop_token, std::nullopt);
  EXPECT_EQ(result->choices.at(0).completion_tokens, 1);
}

TEST_F(SequenceTest, ReportsLogprobsWhenAskedFor) {
  GenerationRequest request = Request({1}, 1);
  request.top_logprobs = 2;
  EXPECT_THAT(Make(std::move(request)).FinishStep(1, Favouring(7), Times(0)), IsOk());
  ASSERT_EQ(observer_->generated().size(), 1u);
  const std::optional<Logprobs> logprobs = observer_->generated()[0].logprobs;
  ASSERT_TRUE(logprobs.has_value());
  EXPECT_EQ(logprobs->chosen.token, 7);
  EXPECT_EQ(logprobs->top.size(), 2u);
}

TEST_F(SequenceTest, GivesNoLogprobsUnasked) {
  EXPECT_THAT(Make(Request({1}, 1)).FinishStep(1, Favouring(7), Times(0)), IsOk());
  ASSERT_EQ(observer_->generated().size(), 1u);
  EXPECT_FALSE(observer_->generated()[0].logprobs.has_value());
}

TEST_F(SequenceTest, LogitsThatAreNotFiniteEndIt) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  Sequence sequence = Make(Request({1}, 5));
  EXPECT_THAT(sequence.FinishStep(1, Favouring(7), Times(0)), IsOk());
  std::vector<float> logits(kVocabSize, 0.0f);
  logits[kVocabSize - 1] = kNan;
  EXPECT_THAT(sequence.FinishStep(1, logits, Times(1)),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("not finite (NaN)")));
  EXPECT_THAT(observer_->tokens(), ElementsAre(7));
}

TEST_F(SequenceTest, AnswersShareThePromptAndEndApart) {
  GenerationRequest request = Request({1, 2}, 3);
  request.choices = 3;
  request.stop_tokens = {9};
  request.sampling.temperature = 1.0f;
  Sequence sequence = Make(std::move(request));
  EXPECT_EQ(sequence.kv_demand().answers, 3);
  EXPECT_EQ(sequence.View(start_).rows, 3);
  std::vector<BatchRow> rows;
  sequence.AddRows(2, rows);
  EXPECT_EQ(rows.size(), 1u);  // one prompt
  const auto certain = [](std::vector<int32_t> tokens) {
    std::vector<float> logits;
    for (const int32_t token : tokens) {
      logits.insert(logits.end(), kVocabSize, 0.0f);
      logits[logits.size() - kVocabSize + token] = 1000.0f;
    }
    return logits;
  };
  Sequence::StepOutcome outcome = *sequence.FinishStep(2, certain({5}), Times(0));
  EXPECT_TRUE(outcome.prompt_complete);
  EXPECT_EQ(outcome.emitted_tokens, 3);
  rows.clear();
  sequence.AddRows(1, rows);
  EXPECT_EQ(rows.size(), 3u);
  outcome = *sequence.FinishStep(1, certain({6, 9, 7}), Times(1));
  EXPECT_EQ(outcome.emitted_tokens, 2);
  EXPECT_EQ(sequence.rows(), 2);
  EXPECT_FALSE(sequence.Result().has_value());
  rows.clear();
  sequence.AddRows(1, rows);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_THAT(rows[1].tokens, ElementsAre(7));
  EXPECT_THAT(sequence.FinishStep(1, certain({8, 9}), Times(2)), IsOk());
  const std::optional<GenerationResult> result = sequence.Result();
  ASSERT_TRUE(result.has_value());
  ASSERT_EQ(result->choices.size(), 3u);
  EXPECT_EQ(result->choices[0].reason, FinishReason::kLength);
  EXPECT_EQ(result->choices[1].completion_tokens, 1);
  EXPECT_EQ(result->choices[2].completion_tokens, 2);
  EXPECT_THAT(observer_->tokens(0), ElementsAre(5, 6, 8));
  EXPECT_THAT(observer_->tokens(1), ElementsAre(5));
  EXPECT_THAT(observer_->tokens(2), ElementsAre(5, 7));
}

TEST_F(SequenceTest, TimesAddUpToTheWhole) {
  Sequence sequence = Make(Request({1, 2, 3}, 3));
  // Steps at 10 ms (with a switch of 3), 20 (decoding begins at its end), 30 (a switch of 2), 40.
  EXPECT_THAT(sequence.FinishStep(2, {}, Times(10, 3)), IsOk());
  EXPECT_THAT(sequence.FinishStep(1, Favouring(7), Times(20)), IsOk());
  EXPECT_THAT(sequence.FinishStep(1, Favouring(7), Times(30, 2)), IsOk());
  EXPECT_THAT(sequence.FinishStep(1, Favouring(7), Times(40)), IsOk());
  const std::optional<GenerationResult> result = sequence.Result();
  ASSERT_TRUE(result.has_value());
  const GenerationTimings& timings = result->timings;
  EXPECT_EQ(timings.queue, absl::Milliseconds(10));
  EXPECT_EQ(timings.switching, absl::Milliseconds(5));
  EXPECT_EQ(timings.prefill, absl::Milliseconds(8));
  EXPECT_EQ(timings.decode, absl::Milliseconds(18));
  EXPECT_EQ(timings.queue + timings.switching + timings.prefill + timings.decode,
            absl::Milliseconds(41));
}

TEST_F(SequenceTest, WaitingCountsFromTheLastThingThatHappenedToIt) {
  Sequence sequence = Make(Request({1, 2}, 3));
  const SteadyTime later = start_ + absl::Milliseconds(100);
  EXPECT_EQ(sequence.View(later).waited, absl::Milliseconds(100));
  KvMemory::Reservation reservation;
  reservation.caches.emplace_back();
  sequence.Admit(std::move(reservation), start_ + absl::Milliseconds(40));
  EXPECT_EQ(sequence.View(later).waited, absl::Milliseconds(60));
  EXPECT_THAT(sequence.FinishStep(1, {}, Times(50)), IsOk());
  EXPECT_EQ(sequence.View(later).waited, absl::Milliseconds(49));
}

TEST_F(SequenceTest, IsInterruptedByCancellationAndDeadline) {
  GenerationRequest request = Request({1}, 5);
  request.deadline = start_ + absl::Seconds(1);
  Sequence sequence = Make(std::move(request));
  EXPECT_THAT(sequence.Interruption(start_), IsOk());
  EXPECT_THAT(sequence.Interruption(start_ + absl::Seconds(1)),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("0 tokens")));
  sequence.cancellation()->Cancel();
  EXPECT_THAT(sequence.Interruption(start_), StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(SequenceTest, UnpinsBeforeItTellsTheObserver) {
  for (const bool succeeds : {true, false}) {
    int pins_at_end = -1;
    GenerationRequest request = Request({1}, 5);
    request.observer = std::make_shared<RecordingObserver>(nullptr, [&] { pins_at_end = pins_; });
    Sequence sequence = Make(std::move(request));
    EXPECT_EQ(pins_, 1);
    if (succeeds) {
      sequence.End(GenerationResult());
    } else {
      sequence.End(absl::InternalError("x"));
    }
    EXPECT_EQ(pins_at_end, 0);
  }
}

}  // namespace
}  // namespace shira
