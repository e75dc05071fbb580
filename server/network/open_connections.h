// File: server/network/open_connections.h
//
// Counts the open connections. gRPC closes them without a notification, so each connection is
// identified by its file descriptor and the inode of the socket behind it, and looked up.

#ifndef SHIRA_SERVER_NETWORK_OPEN_CONNECTIONS_H_
#define SHIRA_SERVER_NETWORK_OPEN_CONNECTIONS_H_

#include <sys/types.h>

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "base/steady_clock.h"

namespace shira {

// Thread-safe.
class OpenConnections {
 public:
  explicit OpenConnections(int64_t limit) : limit_(limit) {}

  // Counts the connection of a descriptor that was just opened and that other code will close.
  // False, and nothing is counted, when the limit is reached.
  bool TryAdd(int fd) ABSL_LOCKS_EXCLUDED(mutex_);

  // Those that are open now.
  int64_t Count() ABSL_LOCKS_EXCLUDED(mutex_);

  int64_t limit() const { return limit_; }

 private:
  struct Socket {
    dev_t device;
    ino_t inode;
    friend bool operator==(const Socket&, const Socket&) = default;
  };

  static bool Find(int fd, Socket& socket);
  void ForgetClosed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int64_t limit_;
  absl::Mutex mutex_;
  absl::flat_hash_map<int, Socket> sockets_ ABSL_GUARDED_BY(mutex_);
  SteadyTime next_look_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace shira

#endif  // SHIRA_SERVER_NETWORK_OPEN_CONNECTIONS_H_
