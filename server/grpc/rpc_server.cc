#include "server/grpc/rpc_server.h"

#include <grpcpp/health_check_service_interface.h>

#include <utility>

#include "base/listening_socket.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/grpc/message_admission.h"

namespace shira {
namespace {

// gRPC's own limit is larger than ours: beyond it the system's gRPC, without our fixes, closes the
// connection, which other calls share. Clients of gRPC know it, and fail such calls themselves.
constexpr int kMetadataFactor = 4;

int Milliseconds(absl::Duration duration) {
  return static_cast<int>(absl::ToInt64Milliseconds(duration));
}

std::vector<std::string> NamesOf(const std::vector<RpcServer::Service>& services) {
  std::vector<std::string> names = {""};
  for (const RpcServer::Service& service : services) names.push_back(service.name);
  return names;
}

// What reflection lists.
std::vector<std::string> NamesWithOurs(const std::vector<RpcServer::Service>& services) {
  std::vector<std::string> names = {
      "grpc.health.v1.Health", grpc::reflection::v1alpha::ServerReflection::service_full_name()};
  for (const RpcServer::Service& service : services) names.push_back(service.name);
  return names;
}

void SetLimits(const RpcServer::Options& options, grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(static_cast<int>(options.max_message_bytes));
  if (options.message_memory != nullptr) AskBeforeReceiving(options.message_memory, builder);
  // A call is sent what its message needs as soon as that is known to have room. gRPC's estimate of the
  // connection would ask for up to 16 MB of every call without looking.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE,
                             static_cast<int>(options.max_metadata_bytes) * kMetadataFactor);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                             static_cast<int>(options.max_calls_per_connection));
}

// Half-open connections: the other end is gone without closing the connection.
void SetKeepalive(const RpcServer::Options& options, grpc::ServerBuilder& builder) {
  const int keepalive_ms = Milliseconds(options.keepalive);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, keepalive_ms);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, keepalive_ms);
  // Until TLS and HTTP/2 have said hello.
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 2 * keepalive_ms);
  // With calls or without: our pings, and those of clients.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             Milliseconds(options.min_ping_interval));
}

}  // namespace

RpcServer::RpcServer(const std::vector<Service>& services)
    : names_(NamesOf(services)), reflection_(NamesWithOurs(services)) {}

absl::StatusOr<std::unique_ptr<RpcServer>> RpcServer::Start(const Options& options,
                                                            const std::vector<Service>& services,
                                                            const AccessControl& access,
                                                            CallRecords& records,
                                                            CallEndObserver on_end) {
  absl::StatusOr<ListeningSocket> socket = ListeningSocket::Open(options.listen);
  if (!socket.ok()) {
    return absl::UnavailableError(
        StrCat("cannot listen on ", options.listen, ": ", ToStd(socket.status().message())));
  }
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  SetLimits(options, builder);
  SetKeepalive(options, builder);

  CallCheckOptions check{
      .access = access,
      .max_metadata_bytes = options.max_metadata_bytes,
      .on_refused = [on_end](std::string_view method, const absl::Status& status) {
        LogRefusal(method, status);
        on_end(method, status.code(), absl::ZeroDuration());
      }};
  std::unique_ptr<RpcServer> server(new RpcServer(services));
  server->connections_ = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
      options.tls != nullptr ? TlsCredentials(*options.tls, std::move(check))
                             : PlainTextCredentials(std::move(check)));
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
  interceptors.push_back(MakeCallInterceptors(access, records, std::move(on_end)));
  builder.experimental().SetInterceptorCreators(std::move(interceptors));

  for (const Service& service : services) builder.RegisterService(service.service);
  builder.RegisterService(&server->reflection_);
  server->server_ = builder.BuildAndStart();
  if (server->server_ == nullptr) {
    return absl::UnavailableError(StrCat("gRPC cannot serve ", options.listen));
  }
  server->address_ = socket->port() == 0 ? options.listen : StrCat(socket->port());
  server->SetServing(false);
  server->acceptor_ = std::make_unique<ConnectionAcceptor>(
      *std::move(socket),
      ConnectionAcceptor::Options{.max_connections = options.max_connections,
                                  .user_timeout = options.keepalive},
      [connections = server->connections_.get()](int fd) {
        grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
        connection.fd = fd;
        connections->HandleNewConnection(&connection);
      });
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
  if (acceptor_ != nullptr) acceptor_->Stop();
  server_->Shutdown(deadline);
}

}  // namespace shira
