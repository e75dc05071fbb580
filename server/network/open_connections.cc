#include "server/network/open_connections.h"

#include <sys/stat.h>

namespace shira {
namespace {

// Looking at a thousand sockets takes a millisecond, which is too much for each connection attempt
// beyond the limit.
constexpr absl::Duration kLookInterval = absl::Milliseconds(20);

}  // namespace

bool OpenConnections::Find(int fd, Socket& socket) {
  struct stat file;
  if (fstat(fd, &file) != 0 || !S_ISSOCK(file.st_mode)) return false;
  socket = {.device = file.st_dev, .inode = file.st_ino};
  return true;
}

bool OpenConnections::TryAdd(int fd) {
  Socket socket;
  if (!Find(fd, socket)) return false;
  absl::MutexLock lock(&mutex_);
  // The kernel gives the lowest number that is free, so that most closed connections go here.
  sockets_.erase(fd);
  if (static_cast<int64_t>(sockets_.size()) >= limit_) {
    const SteadyTime now = SteadyNow();
    if (now < next_look_) return false;
    next_look_ = now + kLookInterval;
    ForgetClosed();
    if (static_cast<int64_t>(sockets_.size()) >= limit_) return false;
  }
  sockets_.emplace(fd, socket);
  return true;
}

int64_t OpenConnections::Count() {
  absl::MutexLock lock(&mutex_);
  ForgetClosed();
  return static_cast<int64_t>(sockets_.size());
}

void OpenConnections::ForgetClosed() {
  absl::erase_if(sockets_, [](const auto& entry) {
    Socket now;
    return !Find(entry.first, now) || now != entry.second;
  });
}

}  // namespace shira
