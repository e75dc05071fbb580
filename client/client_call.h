// File: client/client_call.h
//
// One RPC under way: its deadline, its cancellation and the conversion of its status. Not
// installed.

#ifndef SHIRA_CLIENT_CLIENT_CALL_H_
#define SHIRA_CLIENT_CLIENT_CALL_H_

#include <grpcpp/client_context.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cancellation.h"
#include "client/client.h"
#include "client/status_conversion.h"

namespace shira {

class ClientCall {
 public:
  explicit ClientCall(const CallOptions& options) : cancellation_(options.cancellation) {
    if (options.timeout != absl::InfiniteDuration()) {
      context_.set_deadline(absl::ToChronoTime(absl::Now() + options.timeout));
    }
    if (cancellation_ != nullptr) cancellation_->Attach(&context_);
  }
  ~ClientCall() {
    if (cancellation_ != nullptr) cancellation_->Detach(&context_);
  }
  ClientCall(const ClientCall&) = delete;
  ClientCall& operator=(const ClientCall&) = delete;

  grpc::ClientContext* context() { return &context_; }

 private:
  grpc::ClientContext context_;
  Cancellation* const cancellation_;
};

// Makes a unary call through a method of a generated stub.
template <typename Stub, typename Request, typename Response>
absl::StatusOr<Response> CallUnary(Stub& stub,
                                   grpc::Status (Stub::*method)(grpc::ClientContext*,
                                                                const Request&, Response*),
                                   const Request& request, const CallOptions& options) {
  ClientCall call(options);
  Response response;
  const grpc::Status status = (stub.*method)(call.context(), request, &response);
  if (!status.ok()) return ToAbslStatus(status);
  return response;
}

}  // namespace shira

#endif  // SHIRA_CLIENT_CLIENT_CALL_H_
