#include "server/engine/admission_policy.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace shira {
namespace {

int64_t LevelOf(const SequenceView& sequence, const AdmissionLimits& limits) {
  absl::Duration rest;
  return sequence.priority + absl::IDivDuration(sequence.queued, limits.aging, &rest);
}

}  // namespace

std::vector<SequenceView> AdmissionOrder(std::vector<SequenceView> queued,
                                         const AdmissionLimits& limits) {
  std::stable_sort(queued.begin(), queued.end(), [&](const SequenceView& a, const SequenceView& b) {
    return std::tuple(-LevelOf(a, limits), a.time_left) <
           std::tuple(-LevelOf(b, limits), b.time_left);
  });
  return queued;
}

Admissions PlanAdmissions(const AdmissionSnapshot& snapshot, const AdmissionLimits& limits,
                          absl::FunctionRef<bool(SequenceId)> reserve) {
  Admissions result;
  int64_t room = limits.max_rows - snapshot.running_rows;
  if (room <= 0) return result;
  std::vector<SequenceId> waiting;         // there was no room for them
  int64_t patience = limits.max_bypassed;  // how often all of them may still be passed
  for (const SequenceView& sequence : AdmissionOrder(snapshot.queued, limits)) {
    if (room == 0 || (!waiting.empty() && patience <= 0)) break;
    if (sequence.rows <= room && reserve(sequence.id)) {
      room -= sequence.rows;
      result.admitted.push_back(sequence.id);
      result.bypassed.insert(result.bypassed.end(), waiting.begin(), waiting.end());
      patience -= waiting.empty() ? 0 : 1;
      continue;
    }
    waiting.push_back(sequence.id);
    patience = std::min(patience, limits.max_bypassed - sequence.bypassed);
    // Where so many find no room, asking the rest is a waste of the time between two steps.
    if (static_cast<int64_t>(waiting.size()) > limits.max_bypassed) break;
  }
  return result;
}

}  // namespace shira
