// File: server/service/answer_observer.h
//
// Between the engine, which makes tokens, and a call, which sends text: decodes tokens as they
// come, looks out for stop strings, and writes the summary.

#ifndef SHIRA_SERVER_SERVICE_ANSWER_OBSERVER_H_
#define SHIRA_SERVER_SERVICE_ANSWER_OBSERVER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/steady_clock.h"
#include "server/engine/generation.h"
#include "server/residency/state_handle.h"
#include "server/service/generation_ledger.h"
#include "server/tokenizer/stream_decoder.h"
#include "server/tokenizer/tokenizer.h"
#include "shira/v1/inference.pb.h"

namespace shira {

using AnswerChunk = v1::StreamGenerateResponse::Chunk;

// Appends `from` to `into`, which is another chunk of the same answer or the whole of it.
template <typename Into>
void AppendChunk(AnswerChunk&& from, Into& into) {
  into.mutable_text()->append(from.text());
  into.mutable_token_ids()->MergeFrom(from.token_ids());
  for (v1::TokenLogprobs& logprobs : *from.mutable_logprobs()) {
    into.add_logprobs()->Swap(&logprobs);
  }
}

// Where an answer goes. Called on the engine's thread: methods return quickly and never block. Any
// number of OnChunk, then exactly one of OnSummary and OnError, after which the sink is not touched
// any more.
class AnswerSink {
 public:
  virtual ~AnswerSink() = default;
  virtual void OnChunk(AnswerChunk chunk) = 0;
  virtual void OnSummary(v1::GenerateSummary summary) = 0;
  virtual void OnError(absl::Status status) = 0;
};

class AnswerObserver final : public GenerationObserver {
 public:
  // What the summary repeats of the request, and who else wants to know.
  struct Request {
    std::string id;
    std::vector<AdapterRef> adapters;
    std::optional<uint64_t> seed;  // the first answer's; nullopt: greedy
    std::vector<int32_t> prompt;
    int32_t choices = 1;
    SteadyTime deadline = SteadyTime::InfiniteFuture();
    std::shared_ptr<GenerationLedger::Entry> entry = nullptr;  // nullptr: not counted
    bool log_answer = false;
  };

  // `tokenizer` must outlive this object; `sink` must live until its last event.
  AnswerObserver(Request request, const Tokenizer& tokenizer, StreamDecoder::Options text,
                 AnswerSink& sink);

  Verdict OnToken(const GeneratedToken& token) override;
  void OnChoiceEnd(const ChoiceResult& result) override;
  void OnFinished(const GenerationResult& result) override;
  void OnFailed(const absl::Status& status) override;

 private:
  // The text of one answer.
  struct Answer {
    StreamDecoder decoder;
    bool stopped = false;
    std::string stop_string = {};
    std::string text = {};  // so far, when it is to be logged
  };

  // A stop string that was found counts, whatever ended the tokens.
  FinishReason ReasonOf(const ChoiceResult& result) const;
  v1::TokenLogprob ToProto(const TokenProbability& token) const;
  v1::ChoiceEnd ToProto(const ChoiceResult& result) const;

  // Before the sink hears of it, so that whoever has the answer finds it counted.
  void CountEnd(std::string_view outcome, int64_t generated_tokens,
                std::optional<absl::Duration> queue);
  void Send(AnswerChunk chunk);

  Request request_;
  const Tokenizer& tokenizer_;
  std::vector<Answer> answers_;  // by choice
  AnswerSink& sink_;
  int64_t tokens_ = 0;  // that came, of all answers
};

}  // namespace shira

#endif  // SHIRA_SERVER_SERVICE_ANSWER_OBSERVER_H_
