// File: server/service/start_generation.h
//
// The way of a generation from the public API's request into the engine's queue. What costs little
// is first, so that a request that is refused has cost little: AdmitGeneration() validates, finds
// the adapters' names, and asks for the caller's quota and room in the queue; StartGeneration()
// tokenises, pins the adapters and submits.

#ifndef SHIRA_SERVER_SERVICE_START_GENERATION_H_
#define SHIRA_SERVER_SERVICE_START_GENERATION_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/steady_clock.h"
#include "server/engine/generation.h"
#include "server/service/answer_observer.h"
#include "server/service/error_details.h"
#include "server/service/generate_request.h"
#include "server/service/service_context.h"
#include "shira/v1/inference.pb.h"

namespace shira {

// {"name": the first of `terms` that cannot be used now, or the only one}; empty: which it is
// cannot be told.
ErrorMetadata AdapterAtFault(const AdapterLifecycle& lifecycle,
                             absl::Span<const AdapterSelectionTerm> terms);

// Whose generation it is.
struct GenerationCaller {
  std::string id;      // the request's own, or a new one where it has none
  std::string client;  // whom limits count for
  bool may_raise_priority = false;  // above the default
  SteadyTime deadline;
  std::shared_ptr<CancellationToken> cancellation;
};

// A request that is in order and within its caller's quota, which it counts for as long as anybody
// holds the entry.
struct AdmittedGeneration {
  GenerateOptions options;
  std::shared_ptr<GenerationLedger::Entry> entry;
};

absl::StatusOr<AdmittedGeneration> AdmitGeneration(const ServiceContext& service,
                                                   const Backend& backend,
                                                   const v1::GenerateRequest& request,
                                                   const GenerationCaller& caller);

// On OK `sink` gets the answer's events, which may be that it could not be started; on an error it
// gets none. A small input is tokenised at once, others on a thread for that. All arguments but
// `caller` and `admitted` must live until the sink's last event.
absl::Status StartGeneration(const ServiceContext& service, const Backend& backend,
                             const v1::GenerateRequest& request, GenerationCaller caller,
                             AdmittedGeneration admitted, AnswerSink& sink);

}  // namespace shira

#endif  // SHIRA_SERVER_SERVICE_START_GENERATION_H_
