// File: server/engine/engine_stats.h
//
// The engine's statistics: counts since its start, gauges of the present moment, and durations.
// Plain values; server/metrics exports them.

#ifndef SHIRA_SERVER_ENGINE_ENGINE_STATS_H_
#define SHIRA_SERVER_ENGINE_ENGINE_STATS_H_

#include <array>
#include <cstdint>

#include "absl/time/time.h"
#include "base/duration_histogram.h"

namespace shira {

inline constexpr std::array<double, 18> kEngineSeconds = {0.001, 0.0025, 0.005, 0.01, 0.02, 0.03,
                                                          0.05,  0.075,  0.1,   0.2,  0.3,  0.5,
                                                          1.0,   2.5,    5.0,   10.0, 30.0, 60.0};
using EngineDurations = DurationHistogram<kEngineSeconds>;

struct EngineStats {
  // Now.
  int64_t queued = 0;        // generations
  int64_t running = 0;       // generations that hold KV memory
  int64_t running_rows = 0;  // answers in progress
  int64_t kv_used_bytes = 0;
  int64_t kv_running_bytes = 0;  // of these: of running generations; the others are kept prefixes
  int64_t kv_budget_bytes = 0;
  int64_t kept_prefixes = 0;

  // Generations, since the start.
  int64_t finished = 0;
  int64_t failed = 0;      // cancelled and expired ones included
  int64_t not_finite = 0;  // their logits were not
  int64_t rejected = 0;    // not taken: the queue was full

  // Tokens, since the start.
  int64_t prompt_tokens = 0;         // that were run
  int64_t cached_prompt_tokens = 0;  // that did not have to be
  int64_t generated_tokens = 0;
  int64_t drafted_tokens = 0;   // run in the hope that they come
  int64_t accepted_tokens = 0;  // of these: came, and saved a step
  int64_t prefix_hits = 0;      // generations with cached tokens
  int64_t prefix_misses = 0;    // and without, while prefixes were kept

  // Steps, since the start.
  int64_t fused_steps = 0;    // every row in the resident state
  int64_t patched_steps = 0;  // some rows, or all, in other states
  int64_t step_rows = 0;      // over all steps: decode rows and prompts
  int64_t patched_rows = 0;   // of these: in a state that was not resident
  int64_t switches = 0;
  absl::Duration switch_time;

  EngineDurations step_time;  // of the forward pass
};

}  // namespace shira

#endif  // SHIRA_SERVER_ENGINE_ENGINE_STATS_H_
