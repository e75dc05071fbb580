// File: server/grpc/call_work.h
//
// Unary calls whose work takes long, on threads for that: gRPC's own stay free for other calls.

#ifndef SHIRA_SERVER_GRPC_CALL_WORK_H_
#define SHIRA_SERVER_GRPC_CALL_WORK_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <functional>

#include "absl/status/status.h"
#include "base/work_queue.h"
#include "server/logging/call_records.h"

namespace shira {

// Finishes the call now.
grpc::ServerUnaryReactor* FinishWith(grpc::CallbackServerContext& context,
                                     const absl::Status& status);

// Finishes the call with what work() returns, which is called on one of the lane's threads, in the
// line of the call's client; what is logged there is the call's, and want of memory there is
// RESOURCE_EXHAUSTED. It is not called, and the call ends, when the client is gone by then
// (CANCELLED) or when too much waits (RESOURCE_EXHAUSTED, SERVER_BUSY). Request and response of the
// call live until then. `lane` must outlive the call.
grpc::ServerUnaryReactor* FinishOn(WorkQueue& lane, const CallRecords& records,
                                   grpc::CallbackServerContext& context,
                                   std::function<absl::Status()> work);

}  // namespace shira

#endif  // SHIRA_SERVER_GRPC_CALL_WORK_H_
