#include "server/generation/answer_observer.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "base/steady_clock.h"
#include "server/generation/error_details.h"
#include "server/logging/log_event.h"

namespace shira {

AnswerObserver::AnswerObserver(Request request, const Tokenizer& tokenizer,
                               StreamDecoder::Options text, AnswerSink& sink)
    : request_(std::move(request)), tokenizer_(tokenizer), sink_(sink) {
  answers_.reserve(request_.choices);
  for (int32_t i = 0; i < request_.choices; ++i) {
    answers_.push_back({.decoder = StreamDecoder(tokenizer, text)});
  }
}

GenerationObserver::Verdict AnswerObserver::OnToken(const GeneratedToken& token) {
  Answer& answer = answers_[token.choice];
  // Answers to one prompt go on together: one of them tells the time between tokens.
  if (request_.entry != nullptr && token.choice == 0) request_.entry->OnToken();
  ++tokens_;
  AnswerChunk chunk{.choice = token.choice, .token_ids = {token.token}};
  if (token.logprobs.has_value()) {
    TokenLogprobs& logprobs = chunk.logprobs.emplace_back();
    logprobs.chosen = WithBytes(token.logprobs->chosen);
    for (const TokenProbability& top : token.logprobs->top) logprobs.top.push_back(WithBytes(top));
  }
  // The model's vocabulary may be padded beyond the tokenizer's: such a token has no text, as in
  // Hugging Face's decode().
  if (absl::StatusOr<StreamDecoder::Chunk> piece = answer.decoder.Append(token.token); piece.ok()) {
    chunk.text = std::move(piece->text);
    answer.stopped = piece->stopped;
    answer.stop_string = std::move(piece->stop_string);
  }
  Send(std::move(chunk));
  return answer.stopped ? Verdict::kStop : Verdict::kContinue;
}

void AnswerObserver::OnChoiceEnd(const ChoiceResult& result) {
  Answer& answer = answers_[result.choice];
  AnswerChunk chunk{.choice = result.choice};
  if (!answer.stopped) {
    // A stop string may have waited for a longer one that began before it.
    StreamDecoder::Chunk last = answer.decoder.Finish();
    chunk.text = std::move(last.text);
    answer.stopped = last.stopped;
    answer.stop_string = std::move(last.stop_string);
  }
  if (answers_.size() > 1) chunk.finish_reason = ReasonOf(result);
  if (answers_.size() > 1 || !chunk.text.empty()) Send(std::move(chunk));
}

void AnswerObserver::OnFinished(const GenerationResult& result) {
  AnswerSummary summary{.request_id = request_.id,
                        .adapters = request_.adapters,
                        .ends = {},
                        .prompt = request_.prompt,
                        .cached_prompt_tokens = result.cached_prompt_tokens,
                        .drafts = result.drafts,
                        .timings = result.timings};
  for (const ChoiceResult& choice : result.choices) summary.ends.push_back(EndOf(choice));
  CountEnd(summary.ends.front().reason == FinishReason::kStop ? "stop" : "length",
           summary.completion_tokens(), result.timings.queue);
  sink_.OnSummary(std::move(summary));
}

FinishReason AnswerObserver::ReasonOf(const ChoiceResult& result) const {
  return answers_[result.choice].stopped ? FinishReason::kStop : result.reason;
}

AnswerEnd AnswerObserver::EndOf(const ChoiceResult& result) const {
  const Answer& answer = answers_[result.choice];
  AnswerEnd end{.choice = result.choice,
                .reason = ReasonOf(result),
                .stop_string = answer.stop_string,
                .completion_tokens = result.completion_tokens};
  if (!answer.stopped) end.stop_token = result.stop_token;
  if (request_.seed.has_value()) end.seed = *request_.seed + result.choice;
  return end;
}

void AnswerObserver::Send(AnswerChunk chunk) {
  if (request_.log_answer) answers_[chunk.choice].text += chunk.text;
  sink_.OnChunk(std::move(chunk));
}

void AnswerObserver::CountEnd(std::string_view outcome, int64_t generated_tokens,
                              std::optional<absl::Duration> queue) {
  for (const Answer& answer : answers_) {
    if (!request_.log_answer) break;
    LogEvent(spdlog::level::info, "answer", {{"request", request_.id}, {"text", answer.text}});
  }
  if (request_.entry == nullptr) return;
  request_.entry->OnEnd(outcome, static_cast<int64_t>(request_.prompt.size()), generated_tokens,
                        queue);
  request_.entry.reset();
}

void AnswerObserver::OnFailed(const absl::Status& status) {
  // gRPC cancels a call whose deadline passes, and may do so before the engine looks at the clock.
  const bool expired = absl::IsCancelled(status) && SteadyNow() >= request_.deadline;
  const absl::Status why =
      expired ? absl::DeadlineExceededError("the call's deadline passed; generation stopped")
              : status;
  CountEnd(absl::AsciiStrToLower(absl::StatusCodeToString(why.code())), tokens_, std::nullopt);
  sink_.OnError(WithReason(why, Operation::kRunGeneration, {{"request_id", request_.id}}));
}

TokenLogprob AnswerObserver::WithBytes(const TokenProbability& token) const {
  return {.token = token.token,
          .logprob = token.logprob,
          .bytes = tokenizer_.TokenBytes(token.token, /*skip_special_tokens=*/false).value_or("")};
}

}  // namespace shira
