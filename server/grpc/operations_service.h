// File: server/grpc/operations_service.h
//
// shira.v1.Operations: a look at the server, also while it loads and drains.

#ifndef SHIRA_SERVER_GRPC_OPERATIONS_SERVICE_H_
#define SHIRA_SERVER_GRPC_OPERATIONS_SERVICE_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include <string>
#include <utility>

#include "absl/time/time.h"
#include "server/generation/service_context.h"
#include "shira/v1/operations.grpc.pb.h"

namespace shira {

class OperationsService final : public v1::Operations::Service {
 public:
  OperationsService(const ServiceContext& context, std::string server_version,
                    absl::Time start_time)
      : context_(context), server_version_(std::move(server_version)), start_time_(start_time) {}

  grpc::Status GetServerStatus(grpc::ServerContext* context,
                               const v1::GetServerStatusRequest* request,
                               v1::GetServerStatusResponse* response) override;

 private:
  const ServiceContext context_;
  const std::string server_version_;
  const absl::Time start_time_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_GRPC_OPERATIONS_SERVICE_H_
