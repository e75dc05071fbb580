// File: server/grpc/rpc_server.h
//
// One port with services on it: health and reflection are added, every call is checked, recorded
// and logged. No client can make it hold more than the options say.

#ifndef SHIRA_SERVER_GRPC_RPC_SERVER_H_
#define SHIRA_SERVER_GRPC_RPC_SERVER_H_

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/access/access_control.h"
#include "server/grpc/call_interceptor.h"
#include "server/grpc/port_credentials.h"
#include "server/grpc/reflection_service.h"
#include "server/logging/call_records.h"
#include "server/network/connection_acceptor.h"
#include "server/network/message_memory.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace shira {

// Thread-safe after construction.
class RpcServer {
 public:
  struct Options {
    std::string listen = {};  // HOST:PORT or unix:PATH
    int64_t max_message_bytes = int64_t{16} << 20;
    // For messages that arrive and those of calls that go on; nullptr: without limit.
    std::shared_ptr<MessageMemory> message_memory = nullptr;
    // Of one call, which is refused if it has more.
    int64_t max_metadata_bytes = int64_t{16} << 10;
    int64_t max_connections = 1024;          // others are closed at once
    int64_t max_calls_per_connection = 512;  // clients know it, and hold others back
    // A connection that is silent for so long is asked for a sign of life, and closed, with its
    // calls, when none comes for as long again; so is one that never says what HTTP/2 begins with.
    absl::Duration keepalive = absl::Seconds(60);
    // Clients that send signs of life more often, with calls or without, are told so and lose their
    // connection. Ten seconds are usual, but one that was long on its way comes close to the next.
    absl::Duration min_ping_interval = absl::Seconds(1);
    const TlsOptions* tls = nullptr;  // nullptr: plain text
  };
  struct Service {
    grpc::Service* service;
    std::string name;  // for the health service
  };

  // Listens from here on; health says NOT_SERVING. UNAVAILABLE when the address cannot be listened
  // on. What is referred to must outlive the server.
  static absl::StatusOr<std::unique_ptr<RpcServer>> Start(const Options& options,
                                                          const std::vector<Service>& services,
                                                          const AccessControl& access,
                                                          CallRecords& records,
                                                          CallEndObserver on_end);
  // Calls that are still there are cancelled.
  ~RpcServer();

  // The port that was bound, or unix:PATH.
  const std::string& address() const { return address_; }

  ConnectionAcceptor::Stats connections() const { return acceptor_->stats(); }

  // What health says.
  void SetServing(bool serving);
  // Health says NOT_SERVING from now on, for good.
  void SetNotServingForGood();

  // Takes no more connections and calls, and cancels those that have not ended by `deadline`.
  void Shutdown(std::chrono::system_clock::time_point deadline);

 private:
  explicit RpcServer(const std::vector<Service>& services);

  const std::vector<std::string> names_;  // of services; "" is the server as a whole
  std::string address_;
  ReflectionService reflection_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> connections_;  // of server_
  std::unique_ptr<ConnectionAcceptor> acceptor_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_GRPC_RPC_SERVER_H_
