// File: server/grpc/call_deadline.h

#ifndef SHIRA_SERVER_GRPC_CALL_DEADLINE_H_
#define SHIRA_SERVER_GRPC_CALL_DEADLINE_H_

#include <grpcpp/server_context.h>

#include <chrono>

#include "absl/time/time.h"
#include "base/steady_clock.h"

namespace shira {

// When the client gives up on the call, on the scale of SteadyNow(); InfiniteFuture if it set no
// deadline. gRPC keeps deadlines by the monotonic clock and tells them by the wall clock.
inline SteadyTime DeadlineOf(const grpc::ServerContextBase& context) {
  const std::chrono::system_clock::time_point deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return SteadyTime::InfiniteFuture();
  return SteadyNow() + absl::FromChrono(deadline - std::chrono::system_clock::now());
}

}  // namespace shira

#endif  // SHIRA_SERVER_GRPC_CALL_DEADLINE_H_
