// File: server/network/connection_acceptor.h
//
// Takes connections from a listening socket, on a thread of its own, and hands them on as long as
// there are not too many. gRPC's own listener takes all that come, and ends for good when the
// process has no file descriptor left.

#ifndef SHIRA_SERVER_NETWORK_CONNECTION_ACCEPTOR_H_
#define SHIRA_SERVER_NETWORK_CONNECTION_ACCEPTOR_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>

#include "absl/time/time.h"
#include "base/listening_socket.h"
#include "base/steady_clock.h"
#include "server/network/open_connections.h"

namespace shira {

// Thread-safe.
class ConnectionAcceptor {
 public:
  struct Options {
    int64_t max_connections = 1024;
    // Data that the other end has not acknowledged for so long means that it is gone.
    absl::Duration user_timeout = absl::Seconds(60);
  };
  // Gets a connected non-blocking socket and has to close it. Called by one thread.
  using Handler = std::function<void(int fd)>;

  struct Stats {
    int64_t open = 0;
    int64_t accepted = 0;  // since the start, as the next one
    int64_t refused = 0;   // closed at once: over the limit, or no descriptor was left for them
  };

  // Connections that wait in the socket's queue are taken at once.
  ConnectionAcceptor(ListeningSocket socket, const Options& options, Handler handler);
  // As Stop().
  ~ConnectionAcceptor();

  // Takes no more connections, and lets others have the address. The handler is not called any
  // more when this returns.
  void Stop();

  Stats stats();

 private:
  void Run(ListeningSocket socket);
  // Takes what waits at one socket.
  void AcceptAll(int listening_fd);
  void Refuse(int fd);
  // Closes connections that no descriptor is left for, with the one that is kept for that.
  void RefuseWithoutDescriptor(int listening_fd);

  const Options options_;
  const Handler handler_;
  OpenConnections connections_;
  std::atomic<int64_t> accepted_ = 0;
  std::atomic<int64_t> refused_ = 0;
  const int wake_;  // readable: stop
  int spare_ = -1;  // kept for RefuseWithoutDescriptor()
  SteadyTime next_log_;
  std::thread thread_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_NETWORK_CONNECTION_ACCEPTOR_H_
