// File: server/engine/engine.h
//
// The loop that owns weights, KV memory and the resident state. One thread; everything else reaches
// it through a queue:
//
//   admit -> plan (scheduler_policy, pure) -> switch if planned -> one forward pass -> sample ->
//   emit -> ...
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
#include "adapters/switch/switch_engine.h"
#include "server/engine/generation.h"
#include "server/engine/model_executor.h"
#include "server/registry/state_handle.h"

namespace shira {

struct EngineStats {
  int64_t queued = 0;
  int64_t running = 0;
  int64_t finished = 0;  // generations, since the start
  int64_t failed = 0;    // cancelled and expired ones included
  int64_t prompt_tokens = 0;
  int64_t generated_tokens = 0;
  int64_t switches = 0;
  absl::Duration switch_time;
  int64_t kv_used_bytes = 0;
  int64_t kv_budget_bytes = 0;
};

// Thread-safe. Apply(), Verify() and Drain() wait for the engine's thread, so an observer must not
// call them.
class Engine {
 public:
  struct Options {
    int64_t max_queued = 1024;    // generations that wait
    int64_t max_running = 8;      // generations that hold KV memory
    int64_t prefill_chunk = 512;  // most prompt tokens of one sequence in one step
    // A generation whose state is not resident waits at most this long for those whose state is.
    absl::Duration max_state_wait = absl::Milliseconds(200);
  };

  // Starts the thread. `executor` and `switch_engine` must outlive the engine and are used by
  // nobody else, except for the thread-safe methods of SwitchEngine.
  Engine(Options options, ModelExecutor& executor, SwitchEngine& switch_engine);

  // As Drain(absl::ZeroDuration()).
  ~Engine();

  // Queues a generation. The observer gets its events iff the result is OK.
  //   INVALID_ARGUMENT    prompt and one more token do not fit the context
  //   RESOURCE_EXHAUSTED  the queue is full
  //   UNAVAILABLE         draining
  absl::StatusOr<std::shared_ptr<CancellationToken>> Submit(GenerationRequest request);

  // Makes a state resident between two steps and waits for it. It stays resident until a generation
  // needs another. DEADLINE_EXCEEDED if its turn did not come in time (nothing was written),
  // UNAVAILABLE when stopped.
  absl::StatusOr<SwitchStats> Apply(const StateHandle& state, absl::Time deadline);

  // Hashes the weights between two steps. Errors as above.
  absl::StatusOr<VerifyReport> Verify(absl::Time deadline);

  // Cancels every generation that uses this adapter (by digest) and was submitted before. Does not
  // wait for them to end.
  void CancelUsersOf(const Sha256Digest& adapter);

  // Takes no more generations (UNAVAILABLE), lets running and queued ones end for at most
  // `timeout`, fails the rest with UNAVAILABLE, and stops the thread. Idempotent.
  void Drain(absl::Duration timeout);

  EngineStats stats() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_ENGINE_ENGINE_H_
