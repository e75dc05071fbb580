#include "server/transport/rpc_server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/server_builder.h>

#include <utility>

#include "base/strings.h"

namespace shira {

absl::StatusOr<std::unique_ptr<RpcServer>> RpcServer::Start(const Options& options,
                                                            const std::vector<Service>& services,
                                                            const AccessControl& access,
                                                            CallRecords& records,
                                                            CallEndObserver on_end) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  // Else a second server on the same port would start, and get every other call.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Half-open connections: the other end is gone, but nobody has told us.
  const int keepalive_ms = static_cast<int>(absl::ToInt64Milliseconds(options.keepalive));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, keepalive_ms);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, keepalive_ms);
  builder.SetMaxReceiveMessageSize(static_cast<int>(options.max_message_bytes));

  const RefusalObserver on_refused = [on_end](std::string_view method, const absl::Status& status) {
    LogRefusal(method, status);
    on_end(method, status.code(), absl::ZeroDuration());
  };
  int port = 0;
  builder.AddListeningPort(options.listen,
                           options.tls != nullptr ? TlsCredentials(*options.tls, access, on_refused)
                                                  : PlainTextCredentials(access, on_refused),
                           &port);
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
  interceptors.push_back(MakeCallInterceptors(access, records, std::move(on_end)));
  builder.experimental().SetInterceptorCreators(std::move(interceptors));

  std::vector<std::string> names = {""};  // the server as a whole
  for (const Service& service : services) {
    builder.RegisterService(service.service);
    names.push_back(service.name);
  }
  std::unique_ptr<RpcServer> server(new RpcServer(std::move(names)));
  server->server_ = builder.BuildAndStart();
  const bool is_unix = options.listen.starts_with("unix:");
  if (server->server_ == nullptr || (port == 0 && !is_unix)) {
    return absl::UnavailableError(
        StrCat("cannot listen on ", options.listen, ": in use, or not an address of this machine"));
  }
  server->address_ = is_unix ? options.listen : StrCat(port);
  server->SetServing(false);
  return server;
}

RpcServer::~RpcServer() {
  if (server_ != nullptr) Shutdown(std::chrono::system_clock::now());
}

void RpcServer::SetServing(bool serving) {
  grpc::HealthCheckServiceInterface* health = server_->GetHealthCheckService();
  for (const std::string& name : names_) health->SetServingStatus(name, serving);
}

void RpcServer::SetNotServingForGood() { server_->GetHealthCheckService()->Shutdown(); }

void RpcServer::Shutdown(std::chrono::system_clock::time_point deadline) {
  server_->Shutdown(deadline);
}

}  // namespace shira
