// File: client/status_conversion.h
//
// gRPC status to absl::Status, in one place. Not installed: users of the library see absl::Status
// only.

#ifndef SHIRA_CLIENT_STATUS_CONVERSION_H_
#define SHIRA_CLIENT_STATUS_CONVERSION_H_

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace shira {

// Same code and message; each google.rpc detail becomes a payload under its type URL. Details that
// do not parse are dropped.
absl::Status ToAbslStatus(const grpc::Status& status);

}  // namespace shira

#endif  // SHIRA_CLIENT_STATUS_CONVERSION_H_
