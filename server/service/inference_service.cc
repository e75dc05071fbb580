#include "server/service/inference_service.h"

#include <functional>
#include <string>
#include <utility>

#include "base/out_of_memory.h"
#include "base/status_macros.h"
#include "server/service/error_details.h"
#include "server/service/generate_reactors.h"
#include "server/service/prompt_builder.h"
#include "server/service/proto_conversion.h"
#include "server/service/status_conversion.h"

namespace shira {
namespace {

constexpr int kSmallDetokenization = 4096;  // ids

grpc::ServerUnaryReactor* FinishWith(grpc::CallbackServerContext& context,
                                     const absl::Status& status) {
  grpc::ServerUnaryReactor* reactor = context.DefaultReactor();
  reactor->Finish(ToGrpcStatus(status));
  return reactor;
}

// Finishes the call with what work() returns, which is called here if it is small, and else on a
// thread for that.
grpc::ServerUnaryReactor* FinishAfter(const ServiceContext& service,
                                      grpc::CallbackServerContext& context, bool is_small,
                                      std::function<absl::Status()> work) {
  if (is_small) return FinishWith(context, CatchOutOfMemory(work));
  grpc::ServerUnaryReactor* reactor = context.DefaultReactor();
  const absl::Status queued =
      service.text_work.Add(service.records.Of(context)->client(), [&context, reactor, work] {
        reactor->Finish(context.IsCancelled() ? grpc::Status::CANCELLED
                                              : ToGrpcStatus(CatchOutOfMemory(work)));
      });
  if (!queued.ok()) reactor->Finish(ToGrpcStatus(WithReason(queued, "SERVER_BUSY")));
  return reactor;
}

absl::Status TokenizeInto(const BackendGate& gate, const v1::TokenizeRequest& request,
                          v1::TokenizeResponse& response) {
  SHIRA_ASSIGN_OR_RETURN(const Backend* backend, gate.Enter());
  const PromptBuilder prompts(backend->tokenizer, backend->chat_template);
  SHIRA_ASSIGN_OR_RETURN(PromptBuilder::Prompt prompt, prompts.Build(request));
  response.mutable_ids()->Assign(prompt.ids.begin(), prompt.ids.end());
  response.set_text(std::move(prompt.text));
  return absl::OkStatus();
}

absl::Status DetokenizeInto(const BackendGate& gate, const v1::DetokenizeRequest& request,
                            v1::DetokenizeResponse& response) {
  SHIRA_ASSIGN_OR_RETURN(const Backend* backend, gate.Enter());
  absl::StatusOr<std::string> text =
      backend->tokenizer.Decode(request.ids(), request.skip_special_tokens());
  if (!text.ok()) {
    // A bad id is an argument like any other to the client.
    return WithReason(absl::InvalidArgumentError(text.status().message()), "INVALID_REQUEST",
                      {{"fields", "ids"}});
  }
  response.set_text(*std::move(text));
  return absl::OkStatus();
}

absl::Status GetModelInto(const BackendGate& gate, v1::GetModelResponse& response) {
  SHIRA_ASSIGN_OR_RETURN(const Backend* backend, gate.Enter());
  response = ToProto(backend->model);
  return absl::OkStatus();
}

}  // namespace

grpc::ServerUnaryReactor* InferenceService::Generate(grpc::CallbackServerContext* context,
                                                     const v1::GenerateRequest* request,
                                                     v1::GenerateResponse* response) {
  auto* reactor = new UnaryGenerateReactor(*response);  // deletes itself
  reactor->Start(context_, *context, *request);
  return reactor;
}

grpc::ServerWriteReactor<v1::StreamGenerateResponse>* InferenceService::StreamGenerate(
    grpc::CallbackServerContext* context, const v1::StreamGenerateRequest* request) {
  auto* reactor = new StreamGenerateReactor();  // deletes itself
  reactor->Start(context_, *context, request->request());
  return reactor;
}

grpc::ServerUnaryReactor* InferenceService::Tokenize(grpc::CallbackServerContext* context,
                                                     const v1::TokenizeRequest* request,
                                                     v1::TokenizeResponse* response) {
  return FinishAfter(context_, *context, InputBytes(*request) <= kSmallInputBytes,
                     [this, request, response] {
                       return TokenizeInto(context_.gate, *request, *response);
                     });
}

grpc::ServerUnaryReactor* InferenceService::Detokenize(grpc::CallbackServerContext* context,
                                                       const v1::DetokenizeRequest* request,
                                                       v1::DetokenizeResponse* response) {
  return FinishAfter(context_, *context, request->ids_size() <= kSmallDetokenization,
                     [this, request, response] {
                       return DetokenizeInto(context_.gate, *request, *response);
                     });
}

grpc::ServerUnaryReactor* InferenceService::GetModel(grpc::CallbackServerContext* context,
                                                     const v1::GetModelRequest* /*request*/,
                                                     v1::GetModelResponse* response) {
  return FinishWith(*context, GetModelInto(context_.gate, *response));
}

}  // namespace shira
