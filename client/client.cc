#include "client/client.h"

#include <google/protobuf/wrappers.pb.h>
#include <grpcpp/channel.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>
#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/proto_buffer_writer.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "client/adapter_routing.h"
#include "client/client_call.h"
#include "client/connection_advice.h"
#include "client/retry_policy.h"
#include "client/status_conversion.h"
#include "client/token_interceptor.h"
#include "shira/v1/adapter_admin.grpc.pb.h"
#include "shira/v1/inference.grpc.pb.h"
#include "shira/v1/operations.grpc.pb.h"

namespace shira {
namespace {

constexpr absl::Duration kAttemptInterval = absl::Milliseconds(100);
constexpr absl::Duration kAttemptTimeout = absl::Seconds(2);

// The health service's messages hold one field each, number 1, a string and an enum: on the wire
// they are these wrappers. So no generated code of that service is needed, which could collide with
// another copy in the program that uses this library.
using HealthStub =
    grpc::TemplatedGenericStub<google::protobuf::StringValue, google::protobuf::Int32Value>;
constexpr char kHealthMethod[] = "/grpc.health.v1.Health/Check";
constexpr int kHealthServing = 1;
constexpr int kHealthNotServing = 2;

std::shared_ptr<grpc::Channel> CreateChannel(const ClientOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetUserAgentPrefix("shira-client/" SHIRA_VERSION);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, options.use_http_proxy ? 1 : 0);
  arguments.SetServiceConfigJSON(RetryServiceConfig(options.retry));
  arguments.SetMaxReceiveMessageSize(options.max_reply_bytes);
  // A waiting client should notice a server within a second of its start.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  return grpc::experimental::CreateCustomChannelWithInterceptors(
      options.address,
      options.credentials != nullptr ? options.credentials : grpc::InsecureChannelCredentials(),
      arguments, TokenInterceptors(options.token));
}

void AddRoutingKey(const v1::GenerateRequest& request, grpc::ClientContext& context) {
  const std::string key = AdapterRoutingKey(request);
  if (!key.empty()) context.AddMetadata(kAdapterMetadata, key);
}

// "5s: " of absl's format with the decimals that a reader wants.
std::string Rounded(absl::Duration duration) {
  return absl::FormatDuration(absl::Trunc(duration, absl::Milliseconds(100)));
}

}  // namespace

struct Client::Stubs {
  explicit Stubs(const std::shared_ptr<grpc::Channel>& channel)
      : inference(v1::Inference::NewStub(channel)),
        admin(v1::AdapterAdmin::NewStub(channel)),
        operations(v1::Operations::NewStub(channel)),
        health(std::make_unique<HealthStub>(channel)) {}

  const std::unique_ptr<v1::Inference::StubInterface> inference;
  const std::unique_ptr<v1::AdapterAdmin::StubInterface> admin;
  const std::unique_ptr<v1::Operations::StubInterface> operations;
  const std::unique_ptr<HealthStub> health;
};

Client::Client(ClientOptions options)
    : address_(options.address),
      uses_tls_(options.credentials != nullptr),
      stubs_(std::make_unique<const Stubs>(CreateChannel(options))) {}
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;
Client::~Client() = default;

const std::string& Client::address() const { return address_; }

absl::StatusOr<HealthStatus> Client::CheckHealth(const CallOptions& options) const {
  ClientCall call(options);
  const google::protobuf::StringValue request;  // The empty service name: the server as a whole.
  google::protobuf::Int32Value response;
  grpc::Status status;
  absl::Notification done;
  stubs_->health->UnaryCall(call.context(), kHealthMethod, grpc::StubOptions(), &request, &response,
                            [&](grpc::Status result) {
                              status = std::move(result);
                              done.Notify();
                            });
  done.WaitForNotification();
  if (!status.ok()) return ToAbslStatus(status);
  switch (response.value()) {
    case kHealthServing:
      return HealthStatus::kServing;
    case kHealthNotServing:
      return HealthStatus::kNotServing;
    default:
      return HealthStatus::kUnknown;
  }
}

absl::Status Client::WaitUntilReady(const ReadyOptions& options) const {
  Cancellation never;
  Cancellation* const cancellation =
      options.cancellation != nullptr ? options.cancellation : &never;
  const auto start = std::chrono::steady_clock::now();
  while (true) {
    const absl::StatusOr<HealthStatus> health =
        CheckHealth({.timeout = kAttemptTimeout, .cancellation = cancellation});
    if (cancellation->cancelled())
      return absl::CancelledError("Waiting for the server was cancelled");
    if (health.ok() && (options.reachable_is_enough || *health != HealthStatus::kNotServing))
      return absl::OkStatus();
    const bool no_health_service =
        absl::IsUnimplemented(health.status()) || absl::IsNotFound(health.status());
    if (no_health_service) return absl::OkStatus();

    const absl::Duration elapsed = absl::FromChrono(std::chrono::steady_clock::now() - start);
    const absl::Duration left = options.timeout - elapsed;
    if (left <= absl::ZeroDuration()) {
      if (health.ok()) {
        return absl::UnavailableError(absl::StrCat("The server at ", address_,
                                                   " does not serve after ", Rounded(elapsed),
                                                   ": it loads its model or shuts down"));
      }
      return absl::UnavailableError(absl::StrCat(
          "No shira server answers at ", address_, " after ", Rounded(elapsed), " (",
          health.status().message(), "): ",
          ConnectionAdvice(address_, uses_tls_, health.status().message(), kAttemptTimeout)));
    }
    if (options.on_progress) options.on_progress({.elapsed = elapsed, .reachable = health.ok()});
    cancellation->SleepFor(std::min(kAttemptInterval, left));
  }
}

absl::StatusOr<v1::GenerateResponse> Client::Generate(const v1::GenerateRequest& request,
                                                      const CallOptions& options) const {
  ClientCall call(options);
  AddRoutingKey(request, *call.context());
  v1::GenerateResponse response;
  const grpc::Status status = stubs_->inference->Generate(call.context(), request, &response);
  if (!status.ok()) return ToAbslStatus(status);
  return response;
}

absl::StatusOr<v1::GenerateSummary> Client::StreamGenerate(const v1::GenerateRequest& request,
                                                           ChunkCallback on_chunk,
                                                           const CallOptions& options) const {
  ClientCall call(options);
  AddRoutingKey(request, *call.context());
  v1::StreamGenerateRequest stream_request;
  *stream_request.mutable_request() = request;
  const auto reader = stubs_->inference->StreamGenerate(call.context(), stream_request);
  std::optional<v1::GenerateSummary> summary;
  bool stopped = false;
  v1::StreamGenerateResponse event;
  while (!stopped && reader->Read(&event)) {
    if (event.has_summary()) {
      summary = std::move(*event.mutable_summary());
    } else if (event.has_chunk() && !on_chunk(event.chunk())) {
      stopped = true;
      call.context()->TryCancel();
    }
  }
  const grpc::Status status = reader->Finish();
  if (stopped) return absl::CancelledError("The receiver of the text stopped the generation");
  if (!status.ok()) return ToAbslStatus(status);
  if (!summary.has_value())
    return absl::DataLossError("The server's stream ended without a summary");
  return *std::move(summary);
}

absl::StatusOr<v1::TokenizeResponse> Client::Tokenize(const v1::TokenizeRequest& request,
                                                      const CallOptions& options) const {
  return CallUnary(*stubs_->inference, &v1::Inference::StubInterface::Tokenize, request, options);
}

absl::StatusOr<v1::DetokenizeResponse> Client::Detokenize(const v1::DetokenizeRequest& request,
                                                          const CallOptions& options) const {
  return CallUnary(*stubs_->inference, &v1::Inference::StubInterface::Detokenize, request, options);
}

absl::StatusOr<v1::GetModelResponse> Client::GetModel(const CallOptions& options) const {
  return CallUnary(*stubs_->inference, &v1::Inference::StubInterface::GetModel, {}, options);
}

absl::StatusOr<v1::LoadAdapterResponse> Client::LoadAdapter(const v1::LoadAdapterRequest& request,
                                                            const CallOptions& options) const {
  return CallUnary(*stubs_->admin, &v1::AdapterAdmin::StubInterface::LoadAdapter, request, options);
}

absl::StatusOr<v1::UploadAdapterResponse> Client::UploadAdapter(
    const v1::UploadAdapterRequest::Header& header, ByteSource next,
    const CallOptions& options) const {
  ClientCall call(options);
  v1::UploadAdapterResponse response;
  const auto writer = stubs_->admin->UploadAdapter(call.context(), &response);
  v1::UploadAdapterRequest message;
  *message.mutable_header() = header;
  absl::Status source;
  // A write fails when the server has answered already: Finish() tells what.
  while (writer->Write(message)) {
    const absl::StatusOr<absl::string_view> bytes = next();
    source = bytes.status();
    if (!bytes.ok() || bytes->empty()) break;
    message.set_data(bytes->data(), bytes->size());
  }
  if (!source.ok()) call.context()->TryCancel();
  writer->WritesDone();
  const grpc::Status status = writer->Finish();
  if (!source.ok()) return source;
  if (!status.ok()) return ToAbslStatus(status);
  return response;
}

absl::StatusOr<v1::CreateBlendResponse> Client::CreateBlend(const v1::CreateBlendRequest& request,
                                                            const CallOptions& options) const {
  return CallUnary(*stubs_->admin, &v1::AdapterAdmin::StubInterface::CreateBlend, request, options);
}

absl::Status Client::UnloadAdapter(const v1::UnloadAdapterRequest& request,
                                   const CallOptions& options) const {
  return CallUnary(*stubs_->admin, &v1::AdapterAdmin::StubInterface::UnloadAdapter, request,
                   options)
      .status();
}

absl::StatusOr<std::vector<v1::Adapter>> Client::ListAdapters(const CallOptions& options) const {
  return ListAdapters(v1::ListAdaptersRequest(), options);
}

absl::StatusOr<std::vector<v1::Adapter>> Client::ListAdapters(v1::ListAdaptersRequest request,
                                                              const CallOptions& options) const {
  std::vector<v1::Adapter> adapters;
  do {
    absl::StatusOr<v1::ListAdaptersResponse> page =
        CallUnary(*stubs_->admin, &v1::AdapterAdmin::StubInterface::ListAdapters, request, options);
    if (!page.ok()) return page.status();
    if (!page->next_page_token().empty() && page->next_page_token() == request.page_token()) {
      return absl::DataLossError(
          "The server's list of adapters does not end: it gave one page token twice");
    }
    for (v1::Adapter& adapter : *page->mutable_adapters()) adapters.push_back(std::move(adapter));
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  return adapters;
}

absl::StatusOr<v1::GetAdapterResponse> Client::GetAdapter(const std::string& name,
                                                          const CallOptions& options) const {
  v1::GetAdapterRequest request;
  request.set_name(name);
  return CallUnary(*stubs_->admin, &v1::AdapterAdmin::StubInterface::GetAdapter, request, options);
}

absl::StatusOr<v1::PinAdapterResponse> Client::PinAdapter(const std::string& name,
                                                          const CallOptions& options) const {
  v1::PinAdapterRequest request;
  request.set_name(name);
  return CallUnary(*stubs_->admin, &v1::AdapterAdmin::StubInterface::PinAdapter, request, options);
}

absl::StatusOr<v1::UnpinAdapterResponse> Client::UnpinAdapter(const std::string& name,
                                                              const CallOptions& options) const {
  v1::UnpinAdapterRequest request;
  request.set_name(name);
  return CallUnary(*stubs_->admin, &v1::AdapterAdmin::StubInterface::UnpinAdapter, request,
                   options);
}

absl::StatusOr<v1::Alias> Client::SetAlias(const std::string& name, const std::string& target,
                                           const CallOptions& options) const {
  v1::SetAliasRequest request;
  request.set_name(name);
  request.set_target(target);
  absl::StatusOr<v1::SetAliasResponse> response =
      CallUnary(*stubs_->admin, &v1::AdapterAdmin::StubInterface::SetAlias, request, options);
  if (!response.ok()) return response.status();
  return std::move(*response->mutable_alias());
}

absl::StatusOr<v1::Alias> Client::RollbackAlias(const std::string& name,
                                                const CallOptions& options) const {
  v1::RollbackAliasRequest request;
  request.set_name(name);
  absl::StatusOr<v1::RollbackAliasResponse> response =
      CallUnary(*stubs_->admin, &v1::AdapterAdmin::StubInterface::RollbackAlias, request, options);
  if (!response.ok()) return response.status();
  return std::move(*response->mutable_alias());
}

absl::Status Client::DeleteAlias(const std::string& name, const CallOptions& options) const {
  v1::DeleteAliasRequest request;
  request.set_name(name);
  return CallUnary(*stubs_->admin, &v1::AdapterAdmin::StubInterface::DeleteAlias, request, options)
      .status();
}

absl::StatusOr<std::vector<v1::Alias>> Client::ListAliases(const CallOptions& options) const {
  std::vector<v1::Alias> aliases;
  v1::ListAliasesRequest request;
  do {
    absl::StatusOr<v1::ListAliasesResponse> page =
        CallUnary(*stubs_->admin, &v1::AdapterAdmin::StubInterface::ListAliases, request, options);
    if (!page.ok()) return page.status();
    if (!page->next_page_token().empty() && page->next_page_token() == request.page_token()) {
      return absl::DataLossError(
          "The server's list of aliases does not end: it gave one page token twice");
    }
    for (v1::Alias& alias : *page->mutable_aliases()) aliases.push_back(std::move(alias));
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  return aliases;
}

absl::StatusOr<v1::ApplyAdapterResponse> Client::ApplyAdapter(
    absl::Span<const v1::WeightedAdapter> adapters, const CallOptions& options) const {
  v1::ApplyAdapterRequest request;
  request.mutable_adapters()->Add(adapters.begin(), adapters.end());
  return CallUnary(*stubs_->admin, &v1::AdapterAdmin::StubInterface::ApplyAdapter, request,
                   options);
}

absl::StatusOr<v1::RevertAdapterResponse> Client::RevertAdapter(const CallOptions& options) const {
  return CallUnary(*stubs_->admin, &v1::AdapterAdmin::StubInterface::RevertAdapter, {}, options);
}

absl::StatusOr<v1::GetResidentStateResponse> Client::GetResidentState(
    const CallOptions& options) const {
  return CallUnary(*stubs_->admin, &v1::AdapterAdmin::StubInterface::GetResidentState, {}, options);
}

absl::StatusOr<v1::VerifyWeightsResponse> Client::VerifyWeights(const CallOptions& options) const {
  return CallUnary(*stubs_->admin, &v1::AdapterAdmin::StubInterface::VerifyWeights, {}, options);
}

absl::StatusOr<v1::GetServerStatusResponse> Client::GetServerStatus(
    const CallOptions& options) const {
  return CallUnary(*stubs_->operations, &v1::Operations::StubInterface::GetServerStatus, {},
                   options);
}

}  // namespace shira
