// File: base/listening_socket.h
//
// Where a server waits for connections: HOST:PORT or unix:PATH. An address that another server
// listens on is refused, whichever of the two it is.
//
//   SHIRA_ASSIGN_OR_RETURN(ListeningSocket socket, ListeningSocket::Open("127.0.0.1:0"));
//   poll socket.fds(), accept

#ifndef SHIRA_BASE_LISTENING_SOCKET_H_
#define SHIRA_BASE_LISTENING_SOCKET_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace shira {

// Thread-compatible; movable.
class ListeningSocket {
 public:
  // HOST is an address or a name (all of whose addresses are listened on), 0.0.0.0 and [::] are all
  // of this machine; port 0 is any free one, the same for every address. A socket file without
  // a listener is replaced; one with a listener, and any other file, is not.
  // UNAVAILABLE says why it cannot be.
  static absl::StatusOr<ListeningSocket> Open(const std::string& address);

  ListeningSocket(ListeningSocket&& other) noexcept;
  ListeningSocket& operator=(ListeningSocket&&) = delete;
  // Closes; removes the socket file, unless another one has its place by now.
  ~ListeningSocket();

  // Non-blocking, for poll() and accept(); one or more.
  absl::Span<const int> fds() const { return fds_; }
  // 0 for unix:PATH.
  int port() const { return port_; }

 private:
  ListeningSocket() = default;

  static absl::StatusOr<ListeningSocket> OpenUnix(const std::string& path);
  static absl::StatusOr<ListeningSocket> OpenTcp(const std::string& address);

  std::vector<int> fds_;
  int port_ = 0;
  std::string path_;  // of the socket file; empty: none
  dev_t device_ = 0;  // where that file is
  ino_t inode_ = 0;
};

}  // namespace shira

#endif  // SHIRA_BASE_LISTENING_SOCKET_H_
