#include "server/network/connection_acceptor.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>
#include <vector>

namespace shira {
namespace {

constexpr absl::Duration kLogInterval = absl::Seconds(10);
// When the system is out of memory for sockets, there is nothing to do but wait.
constexpr int kShortageMs = 100;

int OpenSpare() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

bool IsOutOfDescriptors(int error) { return error == EMFILE || error == ENFILE; }

// Of TCP; a unix socket has no such options, and needs none.
void SetTcpOptions(int fd, absl::Duration user_timeout) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  const int timeout_ms = static_cast<int>(absl::ToInt64Milliseconds(user_timeout));
  setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
}

}  // namespace

ConnectionAcceptor::ConnectionAcceptor(ListeningSocket socket, const Options& options,
                                       Handler handler)
    : options_(options),
      handler_(std::move(handler)),
      connections_(options.max_connections),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      spare_(OpenSpare()),
      thread_([this, socket = std::move(socket)]() mutable { Run(std::move(socket)); }) {}

ConnectionAcceptor::~ConnectionAcceptor() {
  Stop();
  close(wake_);
  if (spare_ >= 0) close(spare_);
}

void ConnectionAcceptor::Stop() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(wake_, &one, sizeof(one));
  thread_.join();
}

ConnectionAcceptor::Stats ConnectionAcceptor::stats() {
  return {.open = connections_.Count(), .accepted = accepted_, .refused = refused_};
}

void ConnectionAcceptor::Run(ListeningSocket socket) {
  std::vector<pollfd> polled;
  for (const int fd : socket.fds()) polled.push_back({.fd = fd, .events = POLLIN, .revents = 0});
  polled.push_back({.fd = wake_, .events = POLLIN, .revents = 0});
  while (true) {
    if (poll(polled.data(), polled.size(), -1) < 0) continue;  // a signal
    if (polled.back().revents != 0) return;
    for (const pollfd& one : polled) {
      if (one.revents != 0) AcceptAll(one.fd);
    }
  }
}

void ConnectionAcceptor::AcceptAll(int listening_fd) {
  while (true) {
    const int fd = accept4(listening_fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno == EAGAIN) return;
      if (IsOutOfDescriptors(errno) && spare_ >= 0) return RefuseWithoutDescriptor(listening_fd);
      poll(nullptr, 0, kShortageMs);
      return;
    }
    if (!connections_.TryAdd(fd)) {
      Refuse(fd);
      continue;
    }
    ++accepted_;
    SetTcpOptions(fd, options_.user_timeout);
    handler_(fd);
  }
}

void ConnectionAcceptor::Refuse(int fd) {
  ++refused_;  // before the client can see it
  close(fd);
  const SteadyTime now = SteadyNow();
  if (now < next_log_) return;
  next_log_ = now + kLogInterval;
  spdlog::warn("connections: refused, {} are open (--max-connections {}); refused so far: {}",
               connections_.Count(), options_.max_connections, refused_.load());
}

void ConnectionAcceptor::RefuseWithoutDescriptor(int listening_fd) {
  close(std::exchange(spare_, -1));
  if (const int fd = accept4(listening_fd, nullptr, nullptr, SOCK_CLOEXEC); fd >= 0) Refuse(fd);
  spare_ = OpenSpare();
}

}  // namespace shira
