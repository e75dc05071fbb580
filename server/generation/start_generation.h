// File: server/generation/start_generation.h
//
// The way of a generation from a client's request into the engine's queue. What costs little
// is first, so that a request that is refused has cost little: AdmitGeneration() validates, finds
// the adapters' names, and asks for the caller's quota and room in the queue; StartGeneration()
// tokenises, pins the adapters and submits.

#ifndef SHIRA_SERVER_GENERATION_START_GENERATION_H_
#define SHIRA_SERVER_GENERATION_START_GENERATION_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/steady_clock.h"
#include "server/engine/generation.h"
#include "server/generation/answer.h"
#include "server/generation/error_details.h"
#include "server/generation/generate_request.h"
#include "server/generation/service_context.h"

namespace shira {

// {"name": the first of `terms` that cannot be used now, or the only one}; empty: which it is
// cannot be told.
ErrorMetadata AdapterAtFault(const AdapterLifecycle& lifecycle,
                             absl::Span<const AdapterSelectionTerm> terms);

// Whose generation it is.
struct GenerationCaller {
  std::string id;                   // the request's own, or a new one where it has none
  std::string client;               // whom limits count for
  bool may_raise_priority = false;  // above the default
  SteadyTime deadline;
  std::shared_ptr<CancellationToken> cancellation;
};

// Checks the request and writes out what is implied (CheckAndComplete), and counts it for the
// caller while the entry that it returns exists.
absl::StatusOr<std::shared_ptr<GenerationLedger::Entry>> AdmitGeneration(
    const ServiceContext& service, const Backend& backend, const GenerationCaller& caller,
    GenerateRequest& request);

// On OK `sink` gets the answer's events, which may be that it could not be started; on an error it
// gets none. A small input is tokenised at once, others on a thread for that. `service`, `backend`
// and `sink` must live until the sink's last event. REQUIRES: AdmitGeneration() was OK.
absl::Status StartGeneration(const ServiceContext& service, const Backend& backend,
                             GenerationCaller caller, GenerateRequest request,
                             std::shared_ptr<GenerationLedger::Entry> entry, AnswerSink& sink);

}  // namespace shira

#endif  // SHIRA_SERVER_GENERATION_START_GENERATION_H_
