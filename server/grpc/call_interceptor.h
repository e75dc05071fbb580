// File: server/grpc/call_interceptor.h
//
// Sees every call that a service gets: makes its record, gives it an id, and writes its line when
// it ends,
//
//   call method=/shira.v1.Inference/Generate request=5f0c... peer=ipv4:10.0.0.7:41234 status=OK
//     duration_ms=84.100 identity=web adapter=tone@1 prompt_tokens=12 completion_tokens=64 ...
//
// The id comes from the request's message or from the metadata "x-request-id", or is made here; it
// goes back in the trailing metadata of that name.

#ifndef SHIRA_SERVER_GRPC_CALL_INTERCEPTOR_H_
#define SHIRA_SERVER_GRPC_CALL_INTERCEPTOR_H_

#include <grpcpp/support/server_interceptor.h>

#include <functional>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/access/access_control.h"
#include "server/logging/call_records.h"

namespace shira {

// Called once for every call that ended or was refused, on any thread.
using CallEndObserver =
    std::function<void(std::string_view method, absl::StatusCode code, absl::Duration duration)>;

// `access` and `records` must outlive the server.
std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeCallInterceptors(
    const AccessControl& access, CallRecords& records, CallEndObserver on_end);

// The line of a call that was refused before a service saw it.
void LogRefusal(std::string_view method, const absl::Status& status);

}  // namespace shira

#endif  // SHIRA_SERVER_GRPC_CALL_INTERCEPTOR_H_
