// File: server/grpc/operations_service.h
//
// shira.v1.Operations: a look at the server, also while it loads and drains.

#ifndef SHIRA_SERVER_GRPC_OPERATIONS_SERVICE_H_
#define SHIRA_SERVER_GRPC_OPERATIONS_SERVICE_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/generation/service_context.h"
#include "shira/v1/operations.grpc.pb.h"

namespace shira {

class OperationsService final : public v1::Operations::CallbackService {
 public:
  OperationsService(const ServiceContext& context, std::string server_version,
                    absl::Time start_time)
      : context_(context), server_version_(std::move(server_version)), start_time_(start_time) {}

  grpc::ServerUnaryReactor* GetServerStatus(grpc::CallbackServerContext* context,
                                            const v1::GetServerStatusRequest* request,
                                            v1::GetServerStatusResponse* response) override;

 private:
  absl::Status Status(v1::GetServerStatusResponse& response) const;

  const ServiceContext context_;
  const std::string server_version_;
  const absl::Time start_time_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_GRPC_OPERATIONS_SERVICE_H_
