// File: server/engine/engine.h
//
// The loop that owns weights, KV memory and the resident state. One thread; everything else reaches
// it through a queue:
//
//   admit (admission_policy, pure) -> plan (step_planner, pure) -> switch if planned -> one forward
//   pass -> sample -> emit -> ...
//
// A generation whose adapters are not in memory waits in the queue while other threads read and
// compile them (state_preparation).
//
// Between two steps it runs control operations: applying a state, anything that needs the weights
// to hold still.

#ifndef SHIRA_SERVER_ENGINE_ENGINE_H_
#define SHIRA_SERVER_ENGINE_ENGINE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "adapters/switch/switch_engine.h"
#include "base/steady_clock.h"
#include "server/engine/engine_stats.h"
#include "server/engine/generation.h"
#include "server/engine/state_preparation.h"
#include "server/engine/step_costs.h"
#include "server/engine/step_planner.h"
#include "server/executor/model_executor.h"
#include "server/residency/state_handle.h"

namespace shira {

// Thread-safe. Apply(), Verify(), Leave() and Drain() wait for the engine's thread, so an observer
// must not call them.
class Engine {
 public:
  struct Options {
    int64_t max_queued = 1024;  // generations that wait
    int64_t max_running = 16;   // answers that are generated at a time: rows of a decode step
    int64_t max_choices = 16;   // of one generation; max_running at most
    // Generations that may be admitted before one for which there was no room yet.
    int64_t max_bypassed = 16;
    StepLimits step = {};
    // What steps cost at the start (MeasureStepCosts), and whether real steps correct it.
    StepCosts costs = StepCosts();
    bool learn_costs = true;
    // How states that are not in memory are read and compiled.
    StatePreparation::Options preparation = {};
    // Prompt prefixes that are kept for later requests, in KV memory that is otherwise free.
    int64_t max_prefixes = 0;
    // Whether tokens are drafted for generations that do not say. Never for those of an executor
    // without exact rows.
    bool speculate = false;
  };

  // Starts the thread. `executor` and `switch_engine` must outlive the engine and are used by
  // it alone, except for the thread-safe methods of SwitchEngine.
  Engine(Options options, ModelExecutor& executor, SwitchEngine& switch_engine);

  // As Drain(absl::ZeroDuration()).
  ~Engine();

  // What Submit() would return for any generation now: OK, RESOURCE_EXHAUSTED or UNAVAILABLE. For
  // callers that want to know before they do expensive work such as tokenizing.
  absl::Status CheckRoom();

  // INVALID_ARGUMENT, with the numbers, when so many answers to this prompt could never be in KV
  // memory together. OK for a prompt that is too long in itself, which Submit() refuses.
  absl::Status CheckAnswers(absl::Span<const int32_t> prompt, int64_t max_tokens,
                            int32_t choices) const;

  // Queues a generation. The observer gets its events iff the result is OK.
  //   INVALID_ARGUMENT    prompt and one more token do not fit the context, or CheckAnswers()
  //   RESOURCE_EXHAUSTED  the queue is full
  //   UNAVAILABLE         draining
  absl::StatusOr<std::shared_ptr<CancellationToken>> Submit(GenerationRequest request);

  // Makes a state, which the handle has, resident between two steps and waits for it. It stays resident until a generation
  // needs another. DEADLINE_EXCEEDED if its turn did not come in time (nothing was written),
  // UNAVAILABLE when stopped.
  absl::StatusOr<SwitchStats> Apply(const StateHandle& state, SteadyTime deadline);

  // Hashes the weights between two steps. Errors as above.
  absl::StatusOr<VerifyReport> Verify(SteadyTime deadline);

  // Cancels every generation that uses this adapter (by digest) and was submitted before. Does not
  // wait for them to end.
  void CancelUsersOf(const Sha256Digest& adapter);

  // Takes no more generations (UNAVAILABLE), lets running and queued ones end for at most
  // `timeout`, fails the rest with UNAVAILABLE, and stops the thread. Idempotent.
  void Drain(absl::Duration timeout);

  // For when an adapter is gone: frees what was kept of prompts that were run with it, and makes the
  // base resident in the place of a state with it, unless a running generation uses it. Between two
  // steps; waits for that.
  void Leave(const Sha256Digest& adapter);

  // Most tokens of one prompt and answer: what model and KV memory allow.
  int64_t context_length() const;

  EngineStats stats() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_ENGINE_ENGINE_H_
