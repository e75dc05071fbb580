// File: server/grpc/reflection_service.h
//
// gRPC's server reflection. gRPC brings a service for it, but one that holds a thread for every
// stream that a client leaves open; this one holds none.

#ifndef SHIRA_SERVER_GRPC_REFLECTION_SERVICE_H_
#define SHIRA_SERVER_GRPC_REFLECTION_SERVICE_H_

#include <string>
#include <utility>
#include <vector>

#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"

namespace shira {

// Thread-safe.
class ReflectionService final
    : public grpc::reflection::v1alpha::ServerReflection::CallbackService {
 public:
  using Request = grpc::reflection::v1alpha::ServerReflectionRequest;
  using Response = grpc::reflection::v1alpha::ServerReflectionResponse;

  // `services`: full names, in the order in which they are listed. Descriptors are those that are
  // compiled into the program.
  explicit ReflectionService(std::vector<std::string> services) : services_(std::move(services)) {}

  grpc::ServerBidiReactor<Request, Response>* ServerReflectionInfo(
      grpc::CallbackServerContext* context) override;

  // NOT_FOUND and INVALID_ARGUMENT are in the response, as the protocol wants it.
  Response Answer(const Request& request) const;

 private:
  const std::vector<std::string> services_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_GRPC_REFLECTION_SERVICE_H_
