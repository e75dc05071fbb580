#include "server/metrics/exporter.h"

#include <poll.h>
#include <prometheus/collectable.h>
#include <prometheus/text_serializer.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <list>
#include <thread>
#include <utility>
#include <vector>

#include "base/listening_socket.h"
#include "base/steady_clock.h"
#include "base/strings.h"
#include "server/metrics/scrape_response.h"

namespace shira {
namespace {

// How soon a connection that was given up is closed, and how long a shortage of descriptors keeps
// new ones waiting.
constexpr int kLookMs = 200;

pollfd ToRead(int fd) { return {.fd = fd, .events = POLLIN, .revents = 0}; }

// One request and its answer.
class Connection {
 public:
  Connection(int fd, SteadyTime deadline) : fd_(fd), deadline_(deadline) {}
  ~Connection() { close(fd_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  pollfd polled() const {
    return {
        .fd = fd_, .events = static_cast<short>(answer_.empty() ? POLLIN : POLLOUT), .revents = 0};
  }
  SteadyTime deadline() const { return deadline_; }

  // Does what can be done without waiting. False when the connection is at its end.
  bool Continue(absl::FunctionRef<std::string()> metrics) {
    if (answer_.empty() && !Read()) return false;
    if (answer_.empty()) {
      if (IsWholeRequest(request_)) {
        answer_ = ScrapeResponse(request_, metrics);
      } else if (request_.size() > kMaxRequestBytes) {
        answer_ = TooLargeResponse();
      }
    }
    return answer_.empty() || Write();
  }

 private:
  static bool IsNothingNow() { return errno == EAGAIN || errno == EINTR; }

  bool Read() {
    char buffer[4096];
    while (request_.size() <= kMaxRequestBytes) {
      const ssize_t size = recv(fd_, buffer, sizeof(buffer), 0);
      if (size == 0) return false;
      if (size < 0) return IsNothingNow();
      request_.append(buffer, static_cast<size_t>(size));
    }
    return true;
  }

  bool Write() {
    while (written_ < answer_.size()) {
      const ssize_t size =
          send(fd_, answer_.data() + written_, answer_.size() - written_, MSG_NOSIGNAL);
      if (size < 0) return IsNothingNow();
      written_ += static_cast<size_t>(size);
    }
    return false;
  }

  const int fd_;
  const SteadyTime deadline_;
  std::string request_;
  std::string answer_;  // empty: the request is not whole
  size_t written_ = 0;
};

}  // namespace

class MetricsExporter::Impl {
 public:
  Impl(ListeningSocket socket, const Options& options, const Metrics& metrics)
      : options_(options),
        metrics_(metrics.collectable()),
        socket_(std::move(socket)),
        wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        thread_([this] { Run(); }) {}

  ~Impl() {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(wake_, &one, sizeof(one));
    thread_.join();
    close(wake_);
  }

  int port() const { return socket_.port(); }

 private:
  void Run() {
    while (true) {
      // What is listened on, what ends this, and the connections in their order.
      std::vector<pollfd> polled;
      for (const int fd : socket_.fds()) polled.push_back(ToRead(fd));
      const size_t wake = polled.size();
      polled.push_back(ToRead(wake_));
      for (const Connection& connection : connections_) polled.push_back(connection.polled());
      if (poll(polled.data(), polled.size(), connections_.empty() ? -1 : kLookMs) < 0) continue;
      if (polled[wake].revents != 0) return;
      ContinueAll(polled.data() + wake + 1);
      for (size_t i = 0; i < wake; ++i) {
        if (polled[i].revents != 0) AcceptAll(polled[i].fd);
      }
    }
  }

  void ContinueAll(const pollfd* polled) {
    const SteadyTime now = SteadyNow();
    for (auto it = connections_.begin(); it != connections_.end(); ++polled) {
      const bool stays =
          polled->revents != 0 ? it->Continue([this] { return Text(); }) : now < it->deadline();
      it = stays ? std::next(it) : connections_.erase(it);
    }
  }

  void AcceptAll(int listening_fd) {
    while (true) {
      const int fd = accept4(listening_fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) {
        if (errno == EINTR || errno == ECONNABORTED) continue;
        if (errno != EAGAIN) poll(nullptr, 0, kLookMs);
        return;
      }
      if (connections_.size() >= options_.max_connections) connections_.pop_front();
      connections_.emplace_back(fd, SteadyNow() + options_.timeout);
    }
  }

  std::string Text() const { return prometheus::TextSerializer().Serialize(metrics_->Collect()); }

  const Options options_;
  const std::shared_ptr<prometheus::Collectable> metrics_;
  const ListeningSocket socket_;
  const int wake_;                     // readable: stop
  std::list<Connection> connections_;  // the oldest first
  std::thread thread_;
};

absl::StatusOr<std::unique_ptr<MetricsExporter>> MetricsExporter::Start(const Options& options,
                                                                        const Metrics& metrics) {
  absl::StatusOr<ListeningSocket> socket = ListeningSocket::Open(options.listen);
  if (!socket.ok()) {
    return absl::UnavailableError(StrCat("cannot listen on ", options.listen,
                                         " for metrics: ", ToStd(socket.status().message())));
  }
  return std::unique_ptr<MetricsExporter>(
      new MetricsExporter(std::make_unique<Impl>(*std::move(socket), options, metrics)));
}

MetricsExporter::MetricsExporter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
MetricsExporter::~MetricsExporter() = default;

int MetricsExporter::port() const { return impl_->port(); }

}  // namespace shira
