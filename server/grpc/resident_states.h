// File: server/grpc/resident_states.h

#ifndef SHIRA_SERVER_GRPC_RESIDENT_STATES_H_
#define SHIRA_SERVER_GRPC_RESIDENT_STATES_H_

#include "absl/status/statusor.h"
#include "server/generation/backend.h"
#include "shira/v1/adapter_admin.pb.h"

namespace shira {

struct ResidentStates {
  v1::ResidentState resident;       // what the weights are in at this moment
  v1::ResidentState default_state;  // what requests that name no adapter get
};

absl::StatusOr<ResidentStates> ResidentStatesOf(const Backend& backend);

}  // namespace shira

#endif  // SHIRA_SERVER_GRPC_RESIDENT_STATES_H_
