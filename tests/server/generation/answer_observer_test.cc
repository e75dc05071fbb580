#include "server/generation/answer_observer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/steady_clock.h"
#include "tests/server/generation/byte_tokenizer.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::ByteTokenizer;
using ::shira::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Optional;
using ::testing::SizeIs;
using Verdict = GenerationObserver::Verdict;

struct RecordingSink : AnswerSink {
  void OnChunk(AnswerChunk chunk) override { chunks.push_back(std::move(chunk)); }
  void OnSummary(AnswerSummary s) override { summaries.push_back(std::move(s)); }
  void OnError(absl::Status status) override { errors.push_back(std::move(status)); }

  std::string Text() const {
    std::string text;
    for (const AnswerChunk& chunk : chunks) text += chunk.text;
    return text;
  }

  std::vector<AnswerChunk> chunks;
  std::vector<AnswerSummary> summaries;
  std::vector<absl::Status> errors;
};

class AnswerObserverTest : public ::testing::Test {
 protected:
  void Start(AnswerObserver::Request request, StreamDecoder::Options text = {}) {
    observer_ =
        std::make_unique<AnswerObserver>(std::move(request), tokenizer_, std::move(text), sink_);
  }
  Verdict Send(std::string_view bytes, int32_t choice = 0) {
    Verdict verdict = Verdict::kContinue;
    for (const char c : bytes) {
      EXPECT_EQ(verdict, Verdict::kContinue);
      verdict = observer_->OnToken(
          {.choice = choice, .token = static_cast<unsigned char>(c), .logprobs = {}});
    }
    return verdict;
  }
  // The end of a generation of one answer.
  void Finish(ChoiceResult choice = {}, GenerationResult result = {}) {
    observer_->OnChoiceEnd(choice);
    result.choices = {choice};
    observer_->OnFinished(result);
  }

  ByteTokenizer tokenizer_;
  RecordingSink sink_;
  std::unique_ptr<AnswerObserver> observer_;
};

TEST_F(AnswerObserverTest, ATokenThatEndsNoCharacterHasItsIdButNoTextYet) {
  Start(AnswerObserver::Request{});
  EXPECT_EQ(Send("\xc3"), Verdict::kContinue);
  ASSERT_THAT(sink_.chunks, SizeIs(1));
  EXPECT_THAT(sink_.chunks[0].text, IsEmpty());
  EXPECT_THAT(sink_.chunks[0].token_ids, ElementsAre(0xc3));
  Send("\xa4");
  EXPECT_EQ(sink_.Text(), "\u00e4");
}

TEST_F(AnswerObserverTest, AnUnfinishedCharacterBecomesAReplacementAtTheEnd) {
  Start(AnswerObserver::Request{});
  Send("a\xc3");
  Finish();
  EXPECT_EQ(sink_.Text(), "a\ufffd");
  EXPECT_THAT(sink_.summaries, SizeIs(1));
}

TEST_F(AnswerObserverTest, AStopStringStopsTheGenerationAndIsCutOff) {
  Start(AnswerObserver::Request{}, {.stop_strings = {"END"}});
  EXPECT_EQ(Send("abEN"), Verdict::kContinue);
  EXPECT_EQ(Send("D"), Verdict::kStop);
  Finish({.reason = FinishReason::kStop, .stop_token = {}});
  EXPECT_EQ(sink_.Text(), "ab");
  ASSERT_THAT(sink_.summaries, SizeIs(1));
  EXPECT_EQ(sink_.summaries[0].ends[0].stop_string, "END");
  EXPECT_EQ(sink_.summaries[0].ends[0].reason, FinishReason::kStop);
}

// "bc" waits for "abcd", which begins before it; then the answer ends.
TEST_F(AnswerObserverTest, AStopStringThatWaitedIsTheReasonThoughATokenOrTheLengthEndedTheAnswer) {
  const std::vector<ChoiceResult> ends = {
      {.reason = FinishReason::kLength, .stop_token = {}, .completion_tokens = 4},
      {.reason = FinishReason::kStop, .stop_token = ByteTokenizer::kEos, .completion_tokens = 4}};
  for (const ChoiceResult& end : ends) {
    sink_ = RecordingSink();
    Start(AnswerObserver::Request{}, {.stop_strings = {"abcd", "bc"}});
    EXPECT_EQ(Send("xabc"), Verdict::kContinue);
    Finish(end);
    EXPECT_EQ(sink_.Text(), "xa");
    ASSERT_THAT(sink_.summaries, SizeIs(1));
    EXPECT_EQ(sink_.summaries[0].ends[0].reason, FinishReason::kStop);
    EXPECT_EQ(sink_.summaries[0].ends[0].stop_string, "bc");
    EXPECT_FALSE(sink_.summaries[0].ends[0].stop_token.has_value());
  }
}

TEST_F(AnswerObserverTest, ABeginningOfAStopStringIsSentAtTheEnd) {
  Start(AnswerObserver::Request{}, {.stop_strings = {"END"}});
  Send("abEN");
  EXPECT_EQ(sink_.Text(), "ab");
  Finish();
  EXPECT_EQ(sink_.Text(), "abEN");
  EXPECT_THAT(sink_.summaries[0].ends[0].stop_string, IsEmpty());
}

// Embeddings are often padded to a multiple of 64.
TEST_F(AnswerObserverTest, ATokenBeyondTheTokenizersVocabularyHasNoText) {
  Start(AnswerObserver::Request{});
  GeneratedToken token{.token = 300, .logprobs = Logprobs{.chosen = {300, -1.0f}, .top = {}}};
  EXPECT_EQ(observer_->OnToken(token), Verdict::kContinue);
  Send("a");
  EXPECT_EQ(sink_.Text(), "a");
  EXPECT_THAT(sink_.chunks[0].token_ids, ElementsAre(300));
  EXPECT_THAT(sink_.chunks[0].logprobs[0].chosen.bytes, IsEmpty());
}

TEST_F(AnswerObserverTest, LogprobsCarryBytesOfTheirTokens) {
  Start(AnswerObserver::Request{});
  observer_->OnToken({.token = 'a',
                      .logprobs = Logprobs{.chosen = {'a', -0.5f},
                                           .top = {{'a', -0.5f}, {ByteTokenizer::kEos, -2.0f}}}});
  const TokenLogprobs& logprobs = sink_.chunks[0].logprobs[0];
  EXPECT_EQ(logprobs.chosen.bytes, "a");
  EXPECT_EQ(logprobs.chosen.logprob, -0.5f);
  ASSERT_EQ(logprobs.top.size(), 2);
  EXPECT_EQ(logprobs.top[1].bytes, "<eos>");
}

TEST_F(AnswerObserverTest, TheSummaryRepeatsTheRequestAndReportsTheResult) {
  Start({.id = "r1",
         .adapters = {{.name = "tone", .version = 2, .digest = {}, .weight = 0.5}},
         .seed = 42,
         .prompt = {1, 2, 3},
         .deadline = SteadyTime::InfiniteFuture()});
  Send("a");
  Finish({.reason = FinishReason::kStop, .stop_token = ByteTokenizer::kEos, .completion_tokens = 1},
         {.choices = {},
          .cached_prompt_tokens = 2,
          .drafts = {.drafted = 7, .accepted = 5},
          .timings = {.queue = absl::Milliseconds(1),
                      .switching = absl::Milliseconds(2),
                      .prefill = absl::Milliseconds(3),
                      .decode = absl::Seconds(4) + absl::Nanoseconds(5)}});
  ASSERT_THAT(sink_.summaries, SizeIs(1));
  const AnswerSummary& summary = sink_.summaries[0];
  EXPECT_EQ(summary.request_id, "r1");
  ASSERT_EQ(summary.adapters.size(), 1);
  EXPECT_EQ(summary.adapters[0].name, "tone");
  EXPECT_EQ(summary.adapters[0].version, 2);
  EXPECT_EQ(summary.adapters[0].weight, 0.5);
  ASSERT_THAT(summary.ends, SizeIs(1));
  EXPECT_THAT(summary.ends[0].stop_token, Optional(ByteTokenizer::kEos));
  EXPECT_THAT(summary.ends[0].seed, Optional(42));
  EXPECT_EQ(summary.completion_tokens(), 1);
  EXPECT_EQ(summary.cached_prompt_tokens, 2);
  EXPECT_EQ(summary.drafts.drafted, 7);
  EXPECT_EQ(summary.drafts.accepted, 5);
  EXPECT_THAT(summary.prompt, ElementsAre(1, 2, 3));
  EXPECT_EQ(summary.timings.queue, absl::Milliseconds(1));
  EXPECT_EQ(summary.timings.switching, absl::Milliseconds(2));
  EXPECT_EQ(summary.timings.decode, absl::Seconds(4) + absl::Nanoseconds(5));
}

TEST_F(AnswerObserverTest, AnswersToOnePromptAreDecodedApart) {
  Start({.id = "",
         .adapters = {},
         .seed = ~uint64_t{0},
         .prompt = {1},
         .choices = 2,
         .deadline = SteadyTime::InfiniteFuture()},
        {.stop_strings = {"END"}});
  Send("a\xc3", 0);
  Send("bEN", 1);
  Send("\xa4", 0);
  EXPECT_EQ(Send("D", 1), Verdict::kStop);
  const ChoiceResult second = {
      .choice = 1, .reason = FinishReason::kStop, .stop_token = {}, .completion_tokens = 4};
  observer_->OnChoiceEnd(second);
  Send("EN", 0);
  const ChoiceResult first = {
      .choice = 0, .reason = FinishReason::kLength, .stop_token = {}, .completion_tokens = 5};
  observer_->OnChoiceEnd(first);
  observer_->OnFinished({.choices = {first, second}, .cached_prompt_tokens = 0, .timings = {}});

  std::string texts[2];
  std::optional<FinishReason> reasons[2];
  for (const AnswerChunk& chunk : sink_.chunks) {
    EXPECT_FALSE(reasons[chunk.choice].has_value()) << "a piece after the last";
    texts[chunk.choice] += chunk.text;
    reasons[chunk.choice] = chunk.finish_reason;
  }
  EXPECT_EQ(texts[0], "a\u00e4EN");
  EXPECT_EQ(texts[1], "b");
  EXPECT_THAT(reasons[0], Optional(FinishReason::kLength));
  EXPECT_THAT(reasons[1], Optional(FinishReason::kStop));
  ASSERT_THAT(sink_.summaries, SizeIs(1));
  const AnswerSummary& summary = sink_.summaries[0];
  EXPECT_EQ(summary.completion_tokens(), 9);
  ASSERT_THAT(summary.ends, SizeIs(2));
  EXPECT_EQ(summary.ends[0].reason, FinishReason::kLength);
  EXPECT_THAT(summary.ends[0].seed, Optional(~uint64_t{0}));
  EXPECT_EQ(summary.ends[1].choice, 1);
  EXPECT_THAT(summary.ends[1].seed, Optional(0u));
  EXPECT_EQ(summary.ends[1].stop_string, "END");
}

TEST_F(AnswerObserverTest, AFailureIsPassedOn) {
  Start(AnswerObserver::Request{});
  observer_->OnFailed(absl::CancelledError("cancelled"));
  EXPECT_THAT(sink_.errors, ElementsAre(StatusIs(absl::StatusCode::kCancelled)));
}

TEST_F(AnswerObserverTest, ACancellationAfterTheDeadlineIsTheDeadlines) {
  Start({.id = "",
         .adapters = {},
         .seed = {},
         .prompt = {},
         .choices = 1,
         .deadline = SteadyTime::InfinitePast()});
  observer_->OnFailed(absl::CancelledError("cancelled"));
  EXPECT_THAT(sink_.errors, ElementsAre(StatusIs(absl::StatusCode::kDeadlineExceeded)));
}

}  // namespace
}  // namespace shira
