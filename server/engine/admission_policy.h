// File: server/engine/admission_policy.h
//
// Which of the waiting generations get memory now, as a pure function of a snapshot.
//
// Order: the higher level first, where a level is the priority and one more for each aging
// interval that was spent in the queue, so that nobody is overtaken for ever; within a level the
// nearer deadline, then the order of arrival. Without priorities and deadlines that is first come,
// first served.
//
// One for whom there is no room is passed by those behind it that fit, but by at most max_bypassed
// of them: then everybody waits until it has its room.

#ifndef SHIRA_SERVER_ENGINE_ADMISSION_POLICY_H_
#define SHIRA_SERVER_ENGINE_ADMISSION_POLICY_H_

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "server/engine/sequence_view.h"

namespace shira {

struct AdmissionLimits {
  int64_t max_rows = 16;      // answers in progress
  int64_t max_bypassed = 16;  // by later ones
  absl::Duration aging = absl::Seconds(1);
};

struct AdmissionSnapshot {
  int64_t running_rows = 0;
  std::vector<SequenceView> queued;  // in the order of arrival
};

struct Admissions {
  std::vector<SequenceId> admitted;  // in this order
  std::vector<SequenceId> bypassed;  // one entry for each time; the caller keeps count
};

// The order in which `queued` is served.
std::vector<SequenceView> AdmissionOrder(std::vector<SequenceView> queued,
                                         const AdmissionLimits& limits);

// `reserve` takes memory for a generation, and is false when there is none for it now. It is not
// asked about one that has more rows than there is room for.
Admissions PlanAdmissions(const AdmissionSnapshot& snapshot, const AdmissionLimits& limits,
                          absl::FunctionRef<bool(SequenceId)> reserve);

}  // namespace shira

#endif  // SHIRA_SERVER_ENGINE_ADMISSION_POLICY_H_
