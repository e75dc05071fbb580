// File: tests/server/grpc/error_reason.h

#ifndef SHIRA_TESTS_SERVER_GRPC_ERROR_REASON_H_
#define SHIRA_TESTS_SERVER_GRPC_ERROR_REASON_H_

#include <grpcpp/support/status.h>

#include <string>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace shira::testing {

// The reason in a status' google.rpc.ErrorInfo; "" where there is none.
inline std::string ReasonOf(const grpc::Status& status) {
  google::rpc::Status details;
  details.ParseFromString(status.error_details());
  google::rpc::ErrorInfo info;
  for (const auto& detail : details.details()) {
    if (detail.UnpackTo(&info)) return info.reason();
  }
  return "";
}

}  // namespace shira::testing

#endif  // SHIRA_TESTS_SERVER_GRPC_ERROR_REASON_H_
