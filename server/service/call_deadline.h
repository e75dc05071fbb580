// File: server/service/call_deadline.h

#ifndef SHIRA_SERVER_SERVICE_CALL_DEADLINE_H_
#define SHIRA_SERVER_SERVICE_CALL_DEADLINE_H_

#include <grpcpp/server_context.h>

#include <chrono>

#include "absl/time/time.h"

namespace shira {

// When the client gives up on the call; InfiniteFuture if it set no deadline.
inline absl::Time DeadlineOf(const grpc::ServerContextBase& context) {
  const std::chrono::system_clock::time_point deadline = context.deadline();
  return deadline == std::chrono::system_clock::time_point::max() ? absl::InfiniteFuture()
                                                                  : absl::FromChrono(deadline);
}

}  // namespace shira

#endif  // SHIRA_SERVER_SERVICE_CALL_DEADLINE_H_
