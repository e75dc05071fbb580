// File: server/transport/rpc_server.h
//
// One port with services on it: health and reflection are added, every call is checked, recorded
// and logged.

#ifndef SHIRA_SERVER_TRANSPORT_RPC_SERVER_H_
#define SHIRA_SERVER_TRANSPORT_RPC_SERVER_H_

#include <grpcpp/server.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/access/access_control.h"
#include "server/transport/call_interceptor.h"
#include "server/transport/call_records.h"
#include "server/transport/port_credentials.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace shira {

// Thread-safe after construction.
class RpcServer {
 public:
  struct Options {
    std::string listen;  // HOST:PORT or unix:PATH
    int64_t max_message_bytes = int64_t{16} << 20;
    // A connection that is silent for so long is asked for a sign of life, and closed, with its
    // calls, when none comes for as long again.
    absl::Duration keepalive = absl::Seconds(60);
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

  // What health says.
  void SetServing(bool serving);
  // Health says NOT_SERVING from now on, for good.
  void SetNotServingForGood();

  // Takes no more calls, and cancels those that have not ended by `deadline`.
  void Shutdown(std::chrono::system_clock::time_point deadline);

 private:
  explicit RpcServer(std::vector<std::string> names) : names_(std::move(names)) {}

  const std::vector<std::string> names_;
  std::string address_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_TRANSPORT_RPC_SERVER_H_
