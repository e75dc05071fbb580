#include "server/grpc/inference_service.h"

#include <functional>
#include <utility>

#include "absl/types/span.h"
#include "base/out_of_memory.h"
#include "base/status_macros.h"
#include "server/generation/prompt_builder.h"
#include "server/generation/text_requests.h"
#include "server/grpc/call_work.h"
#include "server/grpc/generate_reactors.h"
#include "server/grpc/proto_conversion.h"
#include "server/grpc/request_conversion.h"

namespace shira {
namespace {

// Finishes the call with what work() returns, which is called here if it is small, and else on a
// thread for that.
grpc::ServerUnaryReactor* FinishAfter(const ServiceContext& service,
                                      grpc::CallbackServerContext& context, bool is_small,
                                      std::function<absl::Status()> work) {
  if (is_small) return FinishWith(context, CatchOutOfMemory(work));
  return FinishOn(service.text_work, service.records, context, std::move(work));
}

// Of what is to be tokenised or rendered.
size_t InputBytes(const v1::TokenizeRequest& request) {
  return request.text().size() + request.chat().ByteSizeLong();
}

TokenizeInput InputOf(const v1::TokenizeRequest& request) {
  TokenizeInput input{.input = {},
                      .options = {.add_special_tokens = !request.omit_special_tokens(),
                                  .parse_special_tokens = !request.plain_text()}};
  if (request.has_text()) input.input = request.text();
  if (request.has_chat()) input.input = FromProto(request.chat());
  return input;
}

absl::Status TokenizeInto(const BackendGate& gate, const v1::TokenizeRequest& request,
                          v1::TokenizeResponse& response) {
  SHIRA_ASSIGN_OR_RETURN(const Backend* backend, gate.Enter());
  SHIRA_ASSIGN_OR_RETURN(PromptBuilder::Prompt prompt, Tokenize(*backend, InputOf(request)));
  response.mutable_ids()->Assign(prompt.ids.begin(), prompt.ids.end());
  response.set_text(std::move(prompt.text));
  return absl::OkStatus();
}

absl::Status DetokenizeInto(const BackendGate& gate, const v1::DetokenizeRequest& request,
                            v1::DetokenizeResponse& response) {
  SHIRA_ASSIGN_OR_RETURN(const Backend* backend, gate.Enter());
  SHIRA_ASSIGN_OR_RETURN(
      *response.mutable_text(),
      Detokenize(*backend, absl::MakeConstSpan(request.ids().data(), request.ids_size()),
                 request.skip_special_tokens()));
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
  return FinishAfter(
      context_, *context, InputBytes(*request) <= kSmallInputBytes,
      [this, request, response] { return TokenizeInto(context_.gate, *request, *response); });
}

grpc::ServerUnaryReactor* InferenceService::Detokenize(grpc::CallbackServerContext* context,
                                                       const v1::DetokenizeRequest* request,
                                                       v1::DetokenizeResponse* response) {
  return FinishAfter(
      context_, *context, static_cast<size_t>(request->ids_size()) <= kSmallDetokenization,
      [this, request, response] { return DetokenizeInto(context_.gate, *request, *response); });
}

grpc::ServerUnaryReactor* InferenceService::GetModel(grpc::CallbackServerContext* context,
                                                     const v1::GetModelRequest* /*request*/,
                                                     v1::GetModelResponse* response) {
  return FinishWith(*context, GetModelInto(context_.gate, *response));
}

}  // namespace shira
