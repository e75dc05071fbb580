// File: server/grpc/inference_service.h
//
// shira.v1.Inference. Thin: parses, hands over, formats. Callback API: a generation holds no thread
// of gRPC's while it runs.

#ifndef SHIRA_SERVER_GRPC_INFERENCE_SERVICE_H_
#define SHIRA_SERVER_GRPC_INFERENCE_SERVICE_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "server/generation/service_context.h"
#include "shira/v1/inference.grpc.pb.h"

namespace shira {

class InferenceService final : public v1::Inference::CallbackService {
 public:
  explicit InferenceService(const ServiceContext& context) : context_(context) {}

  grpc::ServerUnaryReactor* Generate(grpc::CallbackServerContext* context,
                                     const v1::GenerateRequest* request,
                                     v1::GenerateResponse* response) override;
  grpc::ServerWriteReactor<v1::StreamGenerateResponse>* StreamGenerate(
      grpc::CallbackServerContext* context, const v1::StreamGenerateRequest* request) override;
  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context,
                                     const v1::TokenizeRequest* request,
                                     v1::TokenizeResponse* response) override;
  grpc::ServerUnaryReactor* Detokenize(grpc::CallbackServerContext* context,
                                       const v1::DetokenizeRequest* request,
                                       v1::DetokenizeResponse* response) override;
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const v1::GetModelRequest* request,
                                     v1::GetModelResponse* response) override;

 private:
  const ServiceContext context_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_GRPC_INFERENCE_SERVICE_H_
