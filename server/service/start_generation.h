// File: server/service/start_generation.h
//
// The way of a generation from the public API's request into the engine's queue. What costs little
// is first, so that a request that is refused has cost little: validate, find the adapters' names,
// the caller's quota, room in the queue; then tokenise, pin the adapters, submit.

#ifndef SHIRA_SERVER_SERVICE_START_GENERATION_H_
#define SHIRA_SERVER_SERVICE_START_GENERATION_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/steady_clock.h"
#include "server/engine/generation.h"
#include "server/service/answer_observer.h"
#include "server/service/service_context.h"
#include "shira/v1/inference.pb.h"

namespace shira {

// Pins `terms`. Errors name the adapter at fault in their metadata.
absl::StatusOr<StateHandle> AcquireAdapters(AdapterRegistry& registry,
                                            absl::Span<const AdapterSelectionTerm> terms);

// Whose generation it is.
struct GenerationCaller {
  std::string id;      // the request's own, or a new one where it has none
  std::string client;  // whom limits count for
  bool may_raise_priority = false;  // above the default
  SteadyTime deadline;
};

// On OK `sink` gets the answer's events,
// on an error it gets none. `sink` must live until its last event. Takes as long as tokenising
// does, and a few milliseconds more for a set of adapters that is not compiled yet.
absl::StatusOr<std::shared_ptr<CancellationToken>> StartGeneration(
    const ServiceContext& service, const Backend& backend, const v1::GenerateRequest& request,
    const GenerationCaller& caller, AnswerSink& sink);

}  // namespace shira

#endif  // SHIRA_SERVER_SERVICE_START_GENERATION_H_
