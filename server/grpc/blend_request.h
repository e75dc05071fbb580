// File: server/grpc/blend_request.h
//
// Checks a CreateBlendRequest and turns it into what the life cycle takes.

#ifndef SHIRA_SERVER_GRPC_BLEND_REQUEST_H_
#define SHIRA_SERVER_GRPC_BLEND_REQUEST_H_

#include <vector>

#include "absl/status/statusor.h"
#include "adapters/switch/fusion_rule.h"
#include "server/generation/generate_request.h"
#include "server/lifecycle/adapter_lifecycle.h"
#include "shira/v1/adapter_admin.pb.h"

namespace shira {

struct BlendOptions {
  std::vector<AdapterSelectionTerm> parts;
  FusionOptions fusion;
};

// INVALID_ARGUMENT with every problem, as ParseGenerateRequest().
absl::StatusOr<BlendOptions> ParseBlendRequest(const v1::CreateBlendRequest& request,
                                               const RequestLimits& limits);

}  // namespace shira

#endif  // SHIRA_SERVER_GRPC_BLEND_REQUEST_H_
