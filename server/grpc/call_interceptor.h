// File: server/grpc/call_interceptor.h
//
// Sees every call that a service gets: makes its record, gives it an id, and writes its line when
// it ends (call_log.h).
//
// The id comes from the request's message or from the metadata "x-request-id", or is made here; it
// goes back in the trailing metadata of that name.

#ifndef SHIRA_SERVER_GRPC_CALL_INTERCEPTOR_H_
#define SHIRA_SERVER_GRPC_CALL_INTERCEPTOR_H_

#include <grpcpp/support/server_interceptor.h>

#include <memory>

#include "server/access/access_control.h"
#include "server/logging/call_log.h"
#include "server/logging/call_records.h"

namespace shira {

// `access` and `records` must outlive the server.
std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeCallInterceptors(
    const AccessControl& access, CallRecords& records, CallEndObserver on_end);

}  // namespace shira

#endif  // SHIRA_SERVER_GRPC_CALL_INTERCEPTOR_H_
