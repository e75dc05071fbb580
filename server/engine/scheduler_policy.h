// File: server/engine/scheduler_policy.h
//
// What the engine does next, as pure functions of a snapshot: whom to admit, which state the
// weights should be in, and which sequences take part in the next step with how many tokens.
//
// Sequences whose state is resident run together. The weights move to another state when nobody
// running wants the resident one, or when somebody who wants another has waited for
// max_state_wait; then the state of the one who waited longest is next. So a running sequence waits
// at most for max_state_wait and then for one step of every other state that runs.

#ifndef SHIRA_SERVER_ENGINE_SCHEDULER_POLICY_H_
#define SHIRA_SERVER_ENGINE_SCHEDULER_POLICY_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "base/sha256.h"

namespace shira {

// Unique within an engine.
using SequenceId = uint64_t;

struct SequenceView {
  SequenceId id = 0;
  Sha256Digest state;          // StateKey::digest() of the weights that it wants
  bool prefill = false;        // prompt tokens are pending
  int64_t pending_tokens = 0;  // that are known and not in the cache: 1 when decoding; > 0
  // Since it last took part in a step; before that, since it was admitted; before that, since it
  // was submitted.
  absl::Duration waited;
};

struct SchedulerLimits {
  int64_t max_running = 8;
  int64_t prefill_chunk = 512;  // most tokens of one sequence in one step
  absl::Duration max_state_wait = absl::Milliseconds(200);
};

struct SchedulerSnapshot {
  Sha256Digest resident;              // the state that the weights are in
  std::vector<SequenceView> running;  // in the order of admission
  std::vector<SequenceView> queued;   // in the order of arrival
};

// One sequence's part of a step.
struct StepRow {
  SequenceId sequence = 0;
  int64_t tokens = 0;  // of the pending ones, from the first on
};

struct StepPlan {
  std::optional<Sha256Digest> switch_to;  // before the step; what at least one of the rows wants
  std::vector<StepRow> rows;              // empty iff nothing runs
};

// Queued sequences to admit now, in this order; one that finds no KV memory ends the round.
std::vector<SequenceId> PlanAdmissions(const SchedulerSnapshot& snapshot,
                                       const SchedulerLimits& limits);

// The next step of the running sequences.
StepPlan PlanStep(const SchedulerSnapshot& snapshot, const SchedulerLimits& limits);

}  // namespace shira

#endif  // SHIRA_SERVER_ENGINE_SCHEDULER_POLICY_H_
