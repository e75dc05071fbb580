#include "server/service/answer_observer.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "server/logging/log_event.h"
#include "server/service/error_details.h"
#include "server/service/proto_conversion.h"

namespace shira {

AnswerObserver::AnswerObserver(Request request, const Tokenizer& tokenizer,
                               StreamDecoder::Options text, AnswerSink& sink)
    : request_(std::move(request)),
      tokenizer_(tokenizer),
      decoder_(tokenizer, std::move(text)),
      sink_(sink) {}

GenerationObserver::Verdict AnswerObserver::OnToken(const GeneratedToken& token) {
  if (request_.entry != nullptr) request_.entry->OnToken();
  ++tokens_;
  AnswerChunk chunk;
  chunk.add_token_ids(token.token);
  if (token.logprobs.has_value()) {
    v1::TokenLogprobs& logprobs = *chunk.add_logprobs();
    *logprobs.mutable_chosen() = ToProto(token.logprobs->chosen);
    for (const TokenProbability& top : token.logprobs->top) *logprobs.add_top() = ToProto(top);
  }
  // The model's vocabulary may be padded beyond the tokenizer's: such a token has no text, as in
  // Hugging Face's decode().
  if (absl::StatusOr<StreamDecoder::Chunk> piece = decoder_.Append(token.token); piece.ok()) {
    chunk.set_text(std::move(piece->text));
    stopped_ = piece->stopped;
    stop_string_ = std::move(piece->stop_string);
  }
  Send(std::move(chunk));
  return stopped_ ? Verdict::kStop : Verdict::kContinue;
}

void AnswerObserver::OnFinished(const GenerationResult& result) {
  if (!stopped_) {
    if (StreamDecoder::Chunk rest = decoder_.Finish(); !rest.text.empty()) {
      AnswerChunk chunk;
      chunk.set_text(std::move(rest.text));
      Send(std::move(chunk));
    }
  }
  v1::GenerateSummary summary;
  summary.set_request_id(request_.id);
  for (const AdapterRef& adapter : request_.adapters) {
    *summary.add_adapter() = shira::ToProto(adapter);
  }
  summary.set_finish_reason(shira::ToProto(result.reason));
  summary.set_stop_string(stop_string_);
  if (result.stop_token.has_value()) summary.set_stop_token_id(*result.stop_token);
  summary.mutable_usage()->set_prompt_tokens(static_cast<int32_t>(request_.prompt.size()));
  summary.mutable_usage()->set_completion_tokens(static_cast<int32_t>(result.completion_tokens));
  *summary.mutable_timings() = shira::ToProto(result.timings);
  if (request_.seed.has_value()) summary.set_seed(*request_.seed);
  summary.mutable_prompt_token_ids()->Assign(request_.prompt.begin(), request_.prompt.end());
  CountEnd(result.reason == FinishReason::kStop ? "stop" : "length", result.completion_tokens,
           result.timings.queue);
  sink_.OnSummary(std::move(summary));
}

void AnswerObserver::Send(AnswerChunk chunk) {
  if (request_.log_answer) text_ += chunk.text();
  sink_.OnChunk(std::move(chunk));
}

void AnswerObserver::CountEnd(std::string_view outcome, int64_t generated_tokens,
                              std::optional<absl::Duration> queue) {
  if (request_.log_answer) {
    LogEvent(spdlog::level::info, "answer", {{"request", request_.id}, {"text", text_}});
  }
  if (request_.entry == nullptr) return;
  request_.entry->OnEnd(outcome, static_cast<int64_t>(request_.prompt.size()), generated_tokens,
                        queue);
  request_.entry.reset();
}

void AnswerObserver::OnFailed(const absl::Status& status) {
  // gRPC cancels a call whose deadline passes, and may do so before the engine looks at the clock.
  const bool expired = absl::IsCancelled(status) && absl::Now() >= request_.deadline;
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
