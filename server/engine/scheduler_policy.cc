#include "server/engine/scheduler_policy.h"

#include <algorithm>

namespace shira {

std::vector<SequenceId> PlanAdmissions(const SchedulerSnapshot& snapshot,
                                       const SchedulerLimits& limits) {
  const int64_t room = limits.max_running - static_cast<int64_t>(snapshot.running.size());
  std::vector<SequenceId> admitted;
  for (const SequenceView& sequence : snapshot.queued) {
    if (static_cast<int64_t>(admitted.size()) >= room) break;
    admitted.push_back(sequence.id);
  }
  return admitted;
}

StepPlan PlanStep(const SchedulerSnapshot& snapshot, const SchedulerLimits& limits) {
  bool resident_wanted = false;
  const SequenceView* longest_waiting = nullptr;  // among those that want another state
  for (const SequenceView& sequence : snapshot.running) {
    if (sequence.state == snapshot.resident) {
      resident_wanted = true;
    } else if (longest_waiting == nullptr || sequence.waited > longest_waiting->waited) {
      longest_waiting = &sequence;
    }
  }
  StepPlan plan;
  if (longest_waiting != nullptr &&
      (!resident_wanted || longest_waiting->waited >= limits.max_state_wait)) {
    plan.switch_to = longest_waiting->state;
  }
  const Sha256Digest state = plan.switch_to.value_or(snapshot.resident);
  for (const SequenceView& sequence : snapshot.running) {
    if (sequence.state != state) continue;
    plan.rows.push_back({sequence.id, std::min(sequence.pending_tokens, limits.prefill_chunk)});
  }
  return plan;
}

}  // namespace shira
