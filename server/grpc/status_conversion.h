// File: server/grpc/status_conversion.h
//
// The one place where absl::Status becomes grpc::Status.

#ifndef SHIRA_SERVER_GRPC_STATUS_CONVERSION_H_
#define SHIRA_SERVER_GRPC_STATUS_CONVERSION_H_

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace shira {

// Codes are equal by number. The details are a serialised google.rpc.Status with the ErrorInfo that
// was attached (see error_details.h) or, without one, with the code's name as the reason;
// RESOURCE_EXHAUSTED also has a RetryInfo. Long messages are cut, so that the trailers stay below
// the 8 KB that clients accept.
grpc::Status ToGrpcStatus(const absl::Status& status);

}  // namespace shira

#endif  // SHIRA_SERVER_GRPC_STATUS_CONVERSION_H_
