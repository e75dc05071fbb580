#include "server/http/http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <new>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "base/listening_socket.h"
#include "base/steady_wait.h"
#include "base/strings.h"
#include "server/http/http_connection.h"

namespace shira {
namespace {

namespace net = boost::asio;

// The other end in gRPC's words, so that limits per client are the same ones.
std::string PeerOf(int fd) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) return "unknown:";
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof(text));
    return StrCat("ipv4:", text, ":", ntohs(v4.sin_port));
  }
  if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {  // IPv4 at a socket that takes both
      inet_ntop(AF_INET, v6.sin6_addr.s6_addr + 12, text, sizeof(text));
      return StrCat("ipv4:", text, ":", ntohs(v6.sin6_port));
    }
    inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof(text));
    return StrCat("ipv6:%5B", text, "%5D:", ntohs(v6.sin6_port));
  }
  return "unix:";
}

}  // namespace

class HttpServer::Impl {
 public:
  Impl(Options options, HttpHandler& handler, ListeningSocket socket)
      : core_(std::move(options), handler),
        work_(net::make_work_guard(core_.io)),
        address_(socket.port() == 0 ? core_.options.listen : StrCat(socket.port())) {
    for (int i = 0; i < HttpCore::kThreads; ++i) threads_.emplace_back([this] { Run(); });
    acceptor_ = std::make_unique<ConnectionAcceptor>(
        std::move(socket),
        ConnectionAcceptor::Options{.max_connections = core_.options.max_connections,
                                    .user_timeout = core_.options.idle},
        [this](int fd) { Accept(fd); });
  }

  ~Impl() {
    Shutdown(SteadyNow());
    {
      absl::MutexLock lock(&core_.mutex);
      core_.mutex.Await(absl::Condition(
          +[](HttpCore* core) {
            core->mutex.AssertHeld();
            return core->exchanges == 0 && core->connections.empty();
          },
          &core_));
    }
    work_.reset();
    core_.io.stop();
    for (std::thread& thread : threads_) thread.join();
  }

  void Shutdown(SteadyTime deadline) {
    acceptor_->Stop();
    core_.draining = true;
    ForAll([](HttpConnection& connection) { connection.CloseIfIdle(); });
    {
      absl::MutexLock lock(&core_.mutex);
      AwaitUntil(core_.mutex,
                 absl::Condition(
                     +[](HttpCore* core) {
                       core->mutex.AssertHeld();
                       return core->connections.empty();
                     },
                     &core_),
                 deadline);
    }
    ForAll([](HttpConnection& connection) { connection.Close(); });
  }

  const std::string& address() const { return address_; }
  ConnectionAcceptor::Stats connections() const { return acceptor_->stats(); }

 private:
  // A failed allocation ends what it was for, and no thread.
  void Run() {
    while (!core_.io.stopped()) {
      try {
        core_.io.run();
      } catch (const std::bad_alloc&) {
        spdlog::error("http: out of memory");
      }
    }
  }

  void Accept(int fd) {
    sockaddr_storage address{};
    socklen_t length = sizeof(address);
    getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
    SetProbes(fd);
    const HttpConnection::Strand strand = net::make_strand(core_.io);
    HttpConnection::Socket socket(strand);
    boost::system::error_code error;
    socket.assign(
        HttpConnection::Protocol(address.ss_family, address.ss_family == AF_UNIX ? 0 : IPPROTO_TCP),
        fd, error);
    if (error) {
      close(fd);
      return;
    }
    auto connection =
        std::make_shared<HttpConnection>(core_, strand, std::move(socket), PeerOf(fd));
    {
      absl::MutexLock lock(&core_.mutex);
      core_.connections.insert(connection);
    }
    net::post(strand, [connection] { connection->Start(); });
  }

  // A client whose machine is gone, and that nothing is sent to, is noticed by the kernel's probes.
  void SetProbes(int fd) const {
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    const int seconds =
        static_cast<int>(std::max<int64_t>(1, absl::ToInt64Seconds(core_.options.idle)));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof(seconds));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof(seconds));
  }

  template <typename Action>
  void ForAll(Action action) {
    absl::MutexLock lock(&core_.mutex);
    for (const std::shared_ptr<HttpConnection>& connection : core_.connections) {
      net::post(connection->strand(), [connection, action] { action(*connection); });
    }
  }

  HttpCore core_;
  net::executor_work_guard<net::io_context::executor_type> work_;
  const std::string address_;
  std::vector<std::thread> threads_;
  std::unique_ptr<ConnectionAcceptor> acceptor_;
};

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(Options options,
                                                              HttpHandler& handler) {
  absl::StatusOr<ListeningSocket> socket = ListeningSocket::Open(options.listen);
  if (!socket.ok()) {
    return absl::UnavailableError(StrCat("cannot listen on ", options.listen,
                                         " for HTTP: ", ToStd(socket.status().message())));
  }
  return std::unique_ptr<HttpServer>(
      new HttpServer(std::make_unique<Impl>(std::move(options), handler, *std::move(socket))));
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;
const std::string& HttpServer::address() const { return impl_->address(); }
ConnectionAcceptor::Stats HttpServer::connections() const { return impl_->connections(); }
void HttpServer::Shutdown(SteadyTime deadline) { impl_->Shutdown(deadline); }

}  // namespace shira
