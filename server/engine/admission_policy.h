// File: server/engine/admission_policy.h
//
// Which of the waiting generations get memory now, as a pure function of a snapshot.
//
// Clients share: each has a line of its own, and the lines take turns. What a client asks for
// beyond its share waits behind its own requests, not in front of other clients'.
//
// - Within a line, the higher level goes first, where a level is the priority and one more for each
//   aging interval that was spent in the queue; within a level the nearer deadline, then the order
//   of arrival. With one client, and without priorities and deadlines, that is first come, first
//   served.
// - Between lines, the higher level of their first ones, where only the time counts in which the
//   client got nothing: waiting behind one's own requests is no reason to go before others, but no
//   client starves. Within a level, the client with fewer rows in progress; then the one that was
//   served longer ago; then the order of arrival.
//
// A generation for which there is no room is bypassed by later ones that fit, but by at most
// max_bypassed of them: then all others wait until it has its room. A generation whose weights are
// still being read blocks no others.

#ifndef SHIRA_SERVER_ENGINE_ADMISSION_POLICY_H_
#define SHIRA_SERVER_ENGINE_ADMISSION_POLICY_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "server/engine/sequence_view.h"

namespace shira {

struct AdmissionLimits {
  int64_t max_rows = 16;      // answers in progress
  int64_t max_bypassed = 16;  // by later ones
  absl::Duration aging = absl::Seconds(1);
};

// What a client has had of the engine.
struct ClientShare {
  int64_t rows = 0;  // in progress
  // How many generations of all clients had been admitted when its last one was; 0: none.
  int64_t last_turn = 0;
  absl::Duration unserved = absl::InfiniteDuration();  // since then
};
using ClientShares = absl::flat_hash_map<std::string_view, ClientShare>;

struct AdmissionSnapshot {
  int64_t running_rows = 0;
  std::vector<SequenceView> queued;  // in the order of arrival
  ClientShares clients = {};         // of those that are queued; none: it had nothing yet
};

struct Admissions {
  std::vector<SequenceId> admitted;  // in this order
  std::vector<SequenceId> bypassed;  // one entry for each time; the caller keeps count
};

// The order in which the queued ones are served.
std::vector<SequenceView> AdmissionOrder(const AdmissionSnapshot& snapshot,
                                         const AdmissionLimits& limits);

// What there is for a generation.
enum class Room {
  kTaken,   // all its memory, which it has now
  kNone,    // not enough memory
  kNotYet,  // its weights are not there yet
};

// `reserve` takes memory for a generation. It is not asked about one that has more rows than there
// is room for.
Admissions PlanAdmissions(const AdmissionSnapshot& snapshot, const AdmissionLimits& limits,
                          absl::FunctionRef<Room(SequenceId)> reserve);

}  // namespace shira

#endif  // SHIRA_SERVER_ENGINE_ADMISSION_POLICY_H_
