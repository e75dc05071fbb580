// File: server/generation/generation_call.h
//
// One call that asks for an answer, whatever front end it came through: the way into the engine,
// cancellation, the quota and the call's record.

#ifndef SHIRA_SERVER_GENERATION_GENERATION_CALL_H_
#define SHIRA_SERVER_GENERATION_GENERATION_CALL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "base/steady_clock.h"
#include "server/engine/generation.h"
#include "server/generation/answer.h"
#include "server/generation/generate_request.h"
#include "server/generation/generation_ledger.h"
#include "server/generation/service_context.h"
#include "server/logging/call_records.h"

namespace shira {

// Cancel() may be called by any thread; the others as the comments say.
class GenerationCall {
 public:
  // Errors of the gate, AdmitGeneration() and StartGeneration(). On OK `sink` gets the answer's
  // events; on an error it gets none. `service` and `sink` must live until the sink's last event.
  absl::Status Start(const ServiceContext& service, std::shared_ptr<CallRecord> record,
                     SteadyTime deadline, GenerateRequest request, AnswerSink& sink);

  // Ends the generation at its next token, or before it has begun. Harmless after it.
  void Cancel(absl::Status why = absl::CancelledError("the generation was cancelled")) {
    token_->Cancel(std::move(why));
  }

  // As GenerationLedger::Entry. REQUIRES: the sink has had an event of the engine.
  absl::Status AddUnread(int64_t bytes) { return entry_->AddUnread(bytes); }
  void SetAnswer(int64_t bytes) { entry_->SetAnswer(bytes); }

  // What came of it, into the call's record. Never the prompt or the answer. REQUIRES: called
  // before the call is finished.
  void RecordSummary(const AnswerSummary& summary) const;
  void RecordError(const absl::Status& status) const;

 private:
  const std::shared_ptr<CancellationToken> token_ = std::make_shared<CancellationToken>();
  // Constant once the sink may get an event.
  std::shared_ptr<CallRecord> record_;
  std::string wanted_adapter_;
  // Until the front end is done with the call: then the answer is with its client, or with the
  // kernel.
  std::shared_ptr<GenerationLedger::Entry> entry_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_GENERATION_GENERATION_CALL_H_
