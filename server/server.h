// File: server/server.h
//
// The composition root: builds the object graph from the options and ties it to gRPC.
//
//   absl::Notification stop;                                  // a signal notifies it
//   SHIRA_ASSIGN_OR_RETURN(auto server, Server::Start(options));
//   SHIRA_RETURN_IF_ERROR(server->Load(stop));
//   server->ServeUntil(stop);

#ifndef SHIRA_SERVER_SERVER_H_
#define SHIRA_SERVER_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"
#include "server/server_options.h"

namespace shira {

// Thread-compatible but for Reload().
class Server {
 public:
  // Everything that Start() refuses, without opening a port.
  static absl::Status CheckConfig(const ServerOptions& options);

  // Checks the config (paths, keys, the model's files but not its weights), then opens the ports.
  // Within a second.
  // From then on health says NOT_SERVING and calls get UNAVAILABLE. Errors: what is wrong with the
  // files; UNAVAILABLE when the address cannot be listened on. REQUIRES: ValidateValues(options) is
  // OK.
  static absl::StatusOr<std::unique_ptr<Server>> Start(ServerOptions options);

  // Closes the ports. Calls that are still there are cancelled.
  ~Server();

  // Loads weights and adapters, then serves: health says SERVING and the port files are
  // written.
  // CANCELLED when `stop` was notified meanwhile.
  absl::Status Load(const absl::Notification& stop);

  // Blocks until `stop`, then drains: health says NOT_SERVING, new calls get UNAVAILABLE, running
  // generations may end within the drain timeout.
  void ServeUntil(const absl::Notification& stop);

  // Reads the access file again, and looks at the files of TLS, which gRPC reads again by itself;
  // what is wrong with them is logged, and changes nothing. Thread-safe.
  void Reload();

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_SERVER_H_
