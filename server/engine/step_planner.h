// File: server/engine/step_planner.h
//
// What the next step does, as a pure function of a snapshot and of what things cost: which state
// the weights are in, which sequences take part with how many tokens, and so whose weight rows are
// patched while they are multiplied.
//
// - One state runs: it is made resident. Its rows are fused and pay nothing.
// - Several states run: the step begins with the resident one, and takes in each other state for
//   which patching its rows into this step costs less than a step of its own. Those left out wait
//   for their turn: when a sequence has waited for max_state_wait, the next step begins with the
//   state of the sequence that has waited longest.
// - Among the states of the step, the resident one is what makes this and the coming steps
//   cheapest: a switch has to pay for itself, and for the way back, within the steps that its
//   sequences are still expected to take.
// - Decode rows come first. Prompts fill what is left of the token budget, in order, by so many
//   tokens that a step does not take longer than max_stall while others decode.
//
// So a running sequence waits at most for max_state_wait and then for one slice (max(one step,
// kSliceSwitches switches)) of every other state that runs. Prompts wait, besides, for those that
// were admitted before them.

#ifndef SHIRA_SERVER_ENGINE_STEP_PLANNER_H_
#define SHIRA_SERVER_ENGINE_STEP_PLANNER_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "base/sha256.h"
#include "server/engine/sequence_view.h"
#include "server/engine/step_costs.h"

namespace shira {

enum class RowPatching {
  kAuto,  // where it is cheaper
  kOff,   // never: states take turns
};

struct StepLimits {
  int64_t step_tokens = 512;  // decode rows and prompt tokens of a step
  // What a step with decode rows may take, as far as prompts are the reason.
  absl::Duration max_stall = absl::Milliseconds(100);
  absl::Duration max_state_wait = absl::Milliseconds(200);
  RowPatching row_patching = RowPatching::kAuto;
};

struct StepSnapshot {
  Sha256Digest resident;              // the state that the weights are in
  int64_t resident_entries = 0;       // elements that it changes
  absl::Duration resident_for;        // since the last switch
  std::vector<SequenceView> running;  // in the order of admission
};

// One sequence's part of a step.
struct StepRow {
  SequenceId sequence = 0;
  int64_t tokens =
      0;  // of the pending ones, from the first on; when decoding 1 in each of its rows
};

struct StepPlan {
  std::optional<Sha256Digest> switch_to;  // before the step; what at least one of the rows wants
  std::vector<StepRow> rows;              // empty iff nothing runs; in the order of admission
};

// A prompt gets at least so many tokens when it gets any, unless fewer are pending or step_tokens
// is less: less is not worth its part in a step. One prompt gets them even if nothing is left.
inline constexpr int64_t kLeastPrefill = 16;
// A state stays for so many times what the switch to it took (but for max_state_wait at most).
inline constexpr int64_t kSliceSwitches = 10;

StepPlan PlanStep(const StepSnapshot& snapshot, const StepLimits& limits, const StepCosts& costs);

}  // namespace shira

#endif  // SHIRA_SERVER_ENGINE_STEP_PLANNER_H_
