// File: server/generation/answer_observer.h
//
// Between the engine, which makes tokens, and a call, which sends text: decodes tokens as they
// come, looks out for stop strings, and writes the summary.

#ifndef SHIRA_SERVER_GENERATION_ANSWER_OBSERVER_H_
#define SHIRA_SERVER_GENERATION_ANSWER_OBSERVER_H_

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
#include "server/generation/answer.h"
#include "server/generation/generation_ledger.h"
#include "server/residency/state_handle.h"
#include "server/tokenizer/stream_decoder.h"
#include "server/tokenizer/tokenizer.h"

namespace shira {

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
  TokenLogprob WithBytes(const TokenProbability& token) const;
  AnswerEnd EndOf(const ChoiceResult& result) const;

  // Before the sink gets the end, so that a client that has its answer finds it counted.
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

#endif  // SHIRA_SERVER_GENERATION_ANSWER_OBSERVER_H_
