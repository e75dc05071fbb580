#include "server/service/answer_observer.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "base/steady_clock.h"
#include "server/logging/log_event.h"
#include "server/service/error_details.h"
#include "server/service/proto_conversion.h"

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
  AnswerChunk chunk;
  chunk.set_choice(token.choice);
  chunk.add_token_ids(token.token);
  if (token.logprobs.has_value()) {
    v1::TokenLogprobs& logprobs = *chunk.add_logprobs();
    *logprobs.mutable_chosen() = ToProto(token.logprobs->chosen);
    for (const TokenProbability& top : token.logprobs->top) *logprobs.add_top() = ToProto(top);
  }
  // The model's vocabulary may be padded beyond the tokenizer's: such a token has no text, as in
  // Hugging Face's decode().
  if (absl::StatusOr<StreamDecoder::Chunk> piece = answer.decoder.Append(token.token); piece.ok()) {
    chunk.set_text(std::move(piece->text));
    answer.stopped = piece->stopped;
    answer.stop_string = std::move(piece->stop_string);
  }
  Send(std::move(chunk));
  return answer.stopped ? Verdict::kStop : Verdict::kContinue;
}

void AnswerObserver::OnChoiceEnd(const ChoiceResult& result) {
  Answer& answer = answers_[result.choice];
  AnswerChunk chunk;
  chunk.set_choice(result.choice);
  if (!answer.stopped) {
    // A stop string may have waited for a longer one that began before it.
    StreamDecoder::Chunk last = answer.decoder.Finish();
    chunk.set_text(std::move(last.text));
    answer.stopped = last.stopped;
    answer.stop_string = std::move(last.stop_string);
  }
  if (answers_.size() > 1) chunk.set_finish_reason(shira::ToProto(ReasonOf(result)));
  if (answers_.size() > 1 || !chunk.text().empty()) Send(std::move(chunk));
}

void AnswerObserver::OnFinished(const GenerationResult& result) {
  v1::GenerateSummary summary;
  summary.set_request_id(request_.id);
  for (const AdapterRef& adapter : request_.adapters) {
    *summary.add_adapter() = shira::ToProto(adapter);
  }
  const v1::ChoiceEnd first = ToProto(result.choices.front());
  summary.set_finish_reason(first.finish_reason());
  summary.set_stop_string(first.stop_string());
  if (first.has_stop_token_id()) summary.set_stop_token_id(first.stop_token_id());
  if (first.has_seed()) summary.set_seed(first.seed());
  int64_t completion_tokens = 0;
  for (const ChoiceResult& choice : result.choices) {
    completion_tokens += choice.completion_tokens;
    if (result.choices.size() > 1) *summary.add_choices() = ToProto(choice);
  }
  v1::Usage& usage = *summary.mutable_usage();
  usage.set_prompt_tokens(static_cast<int32_t>(request_.prompt.size()));
  usage.set_completion_tokens(static_cast<int32_t>(completion_tokens));
  usage.set_cached_prompt_tokens(static_cast<int32_t>(result.cached_prompt_tokens));
  *summary.mutable_timings() = shira::ToProto(result.timings);
  summary.mutable_prompt_token_ids()->Assign(request_.prompt.begin(), request_.prompt.end());
  CountEnd(ReasonOf(result.choices.front()) == FinishReason::kStop ? "stop" : "length",
           completion_tokens, result.timings.queue);
  sink_.OnSummary(std::move(summary));
}

FinishReason AnswerObserver::ReasonOf(const ChoiceResult& result) const {
  return answers_[result.choice].stopped ? FinishReason::kStop : result.reason;
}

v1::ChoiceEnd AnswerObserver::ToProto(const ChoiceResult& result) const {
  const Answer& answer = answers_[result.choice];
  v1::ChoiceEnd proto;
  proto.set_index(result.choice);
  proto.set_finish_reason(shira::ToProto(ReasonOf(result)));
  proto.set_stop_string(answer.stop_string);
  if (result.stop_token.has_value() && !answer.stopped) {
    proto.set_stop_token_id(*result.stop_token);
  }
  proto.set_completion_tokens(static_cast<int32_t>(result.completion_tokens));
  if (request_.seed.has_value()) proto.set_seed(*request_.seed + result.choice);
  return proto;
}

void AnswerObserver::Send(AnswerChunk chunk) {
  if (request_.log_answer) answers_[chunk.choice()].text += chunk.text();
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

v1::TokenLogprob AnswerObserver::ToProto(const TokenProbability& token) const {
  v1::TokenLogprob proto;
  proto.set_token_id(token.token);
  proto.set_logprob(token.logprob);
  absl::StatusOr<std::string> bytes =
      tokenizer_.TokenBytes(token.token, /*skip_special_tokens=*/false);
  if (bytes.ok()) proto.set_token(*std::move(bytes));  // empty beyond the tokenizer's vocabulary
  return proto;
}

}  // namespace shira
