#include "server/grpc/inference_service.h"

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/out_of_memory.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/generation/conversation.h"
#include "server/generation/error_details.h"
#include "server/generation/field_problems.h"
#include "server/generation/prompt_builder.h"
#include "server/grpc/call_work.h"
#include "server/grpc/generate_reactors.h"
#include "server/grpc/proto_conversion.h"
#include "server/grpc/request_conversion.h"

namespace shira {
namespace {

constexpr int kSmallDetokenization = 4096;  // ids

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

absl::StatusOr<PromptBuilder::Prompt> TokensOf(const PromptBuilder& prompts,
                                               const RequestLimits& limits,
                                               const v1::TokenizeRequest& request) {
  FieldProblems problems;
  switch (request.input_case()) {
    case v1::TokenizeRequest::kText:
      return prompts.FromText(request.text(), {.add_special_tokens = !request.omit_special_tokens(),
                                               .parse_special_tokens = !request.plain_text()});
    case v1::TokenizeRequest::kChat: {
      const Conversation chat = FromProto(request.chat());
      CheckConversation(limits.conversation, chat, problems);
      SHIRA_RETURN_IF_ERROR(problems.ToStatus());
      return prompts.FromChat(chat);
    }
    case v1::TokenizeRequest::INPUT_NOT_SET:
      break;
  }
  problems.Add("input", "is missing: give text or chat");
  return problems.ToStatus();
}

absl::Status TokenizeInto(const BackendGate& gate, const v1::TokenizeRequest& request,
                          v1::TokenizeResponse& response) {
  SHIRA_ASSIGN_OR_RETURN(const Backend* backend, gate.Enter());
  const PromptBuilder prompts(backend->tokenizer, backend->chat_template,
                              backend->chat_template_problem);
  SHIRA_ASSIGN_OR_RETURN(PromptBuilder::Prompt prompt, TokensOf(prompts, backend->limits, request));
  response.mutable_ids()->Assign(prompt.ids.begin(), prompt.ids.end());
  response.set_text(std::move(prompt.text));
  return absl::OkStatus();
}

absl::Status DetokenizeInto(const BackendGate& gate, const v1::DetokenizeRequest& request,
                            v1::DetokenizeResponse& response) {
  SHIRA_ASSIGN_OR_RETURN(const Backend* backend, gate.Enter());
  const int32_t tokens = backend->tokenizer.vocab_size();
  const int32_t known = std::max(tokens, backend->limits.vocab_size);
  std::vector<int32_t> ids;
  ids.reserve(request.ids_size());
  FieldProblems problems;
  for (int i = 0; i < request.ids_size(); ++i) {
    const int32_t id = request.ids(i);
    if (id < 0 || id >= known) {
      problems.Add("ids", StrCat("id ", id, " at position ", i, " is not within [0, ", known, ")"));
      return problems.ToStatus();
    }
    // The model's vocabulary may be padded beyond the tokenizer's: such a token has no text.
    if (id < tokens) ids.push_back(id);
  }
  SHIRA_ASSIGN_OR_RETURN(*response.mutable_text(),
                         backend->tokenizer.Decode(ids, request.skip_special_tokens()));
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
      context_, *context, request->ids_size() <= kSmallDetokenization,
      [this, request, response] { return DetokenizeInto(context_.gate, *request, *response); });
}

grpc::ServerUnaryReactor* InferenceService::GetModel(grpc::CallbackServerContext* context,
                                                     const v1::GetModelRequest* /*request*/,
                                                     v1::GetModelResponse* response) {
  return FinishWith(*context, GetModelInto(context_.gate, *response));
}

}  // namespace shira
