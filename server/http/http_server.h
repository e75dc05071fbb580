// File: server/http/http_server.h
//
// HTTP/1.1 over TCP, unix sockets and TLS, without knowing what is served: requests in, responses
// and streams out. A few threads serve all connections with non-blocking I/O (Boost.Asio, and
// Boost.Beast's parser), so that a stream on which nothing comes costs no thread.
//
// Bounded are the head and the body of a request, the memory of all bodies, the time in which a
// request has to be complete, and what is written ahead: a stream has one piece on its way, and
// whoever makes it is told when the next one can be taken.
//
// While a response is made or written, the connection is read: the client that closes it, or only
// its sending side, is gone, and the exchange is told. Requests that a client sends ahead are
// answered in their order; one that sends more than 16 KiB ahead is read again, and found to be
// gone, only when its answer is written.

#ifndef SHIRA_SERVER_HTTP_HTTP_SERVER_H_
#define SHIRA_SERVER_HTTP_HTTP_SERVER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/steady_clock.h"
#include "server/http/tls_contexts.h"
#include "server/network/connection_acceptor.h"
#include "server/network/message_memory.h"

namespace shira {

struct HttpRequest {
  std::string method;  // "POST"
  std::string path;    // without the query; escapes are left as they are
  std::string peer;    // in gRPC's words: "ipv4:10.0.0.1:12345", "unix:"
  // Every header of the name: a header that may occur once counts as none when it occurs twice.
  std::vector<std::string> authorizations = {};
  std::vector<std::string> request_ids = {};        // X-Request-Id
  std::vector<std::string> certificate_names = {};  // of a client certificate that TLS has verified
  std::string body = {};
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  // Besides Content-Type, Content-Length, Transfer-Encoding and Connection. Neither names nor
  // values have line ends.
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string body = {};
};

// What happens to an exchange, for whoever answers it. Called on the connection's thread of the
// moment, one at a time: methods return quickly and never block.
class HttpExchangeObserver {
 public:
  virtual ~HttpExchangeObserver() = default;
  // The next piece can be written: after HttpExchange::Wake(), Begin() and Write().
  virtual void OnReady() = 0;
  // The last event. Either the whole response is with the kernel, or the client is gone.
  virtual void OnDone(bool delivered) = 0;
};

// One request's way back to its client: Respond(), or Begin(), Write() any number of times and
// End(). All are thread-safe, return at once, and do nothing when the client is gone.
class HttpExchange {
 public:
  virtual ~HttpExchange() = default;

  // The observer is kept until its OnDone(). REQUIRES: called by HttpHandler::Handle().
  virtual void Observe(std::shared_ptr<HttpExchangeObserver> observer) = 0;
  // Has OnReady() called soon. REQUIRES: no piece is being written.
  virtual void Wake() = 0;

  virtual void Respond(HttpResponse response) = 0;
  // The head of a stream, and the body's first piece. REQUIRES for these three: no piece is being
  // written.
  virtual void Begin(HttpResponse head) = 0;
  virtual void Write(std::string piece) = 0;
  virtual void End(std::string last_piece) = 0;

  virtual bool is_gone() const = 0;
};

// Serves requests. Called on several threads, for one connection by one at a time: methods return
// quickly and never block.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;

  // Before the body is received: a refusal, or nullopt and Handle() will get the request.
  virtual std::optional<HttpResponse> Refuse(const HttpRequest& head) = 0;

  // Answers, now or later. REQUIRES: every exchange gets its answer, unless it is gone.
  virtual void Handle(HttpRequest request, std::shared_ptr<HttpExchange> exchange) = 0;

  // The response to what is no request, or one that is too large (`status`: 400, 408, 413, 429,
  // 431). `head` has what is known of it.
  virtual HttpResponse Explain(const HttpRequest& head, int status, std::string_view problem) = 0;
};

// Thread-safe after construction.
class HttpServer {
 public:
  struct Options {
    std::string listen = {};                     // HOST:PORT or unix:PATH
    int64_t max_head_bytes = int64_t{16} << 10;  // of a request: 431
    int64_t max_body_bytes = int64_t{16} << 20;  // 413
    std::shared_ptr<MessageMemory> memory = {};  // for bodies: 429; nullptr: without limit
    int64_t max_connections = 1024;              // others are closed at once
    absl::Duration idle = absl::Seconds(60);     // between two requests, then it is closed
    absl::Duration request = absl::Seconds(60);  // from a request's first byte to its last: 408
    absl::Duration no_progress = absl::Seconds(120);  // a client that takes nothing is gone
    std::shared_ptr<TlsContexts> tls = {};            // nullptr: plain text
  };

  // Listens from here on. UNAVAILABLE when the address cannot be listened on. `handler` must
  // outlive the server.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(Options options, HttpHandler& handler);
  // As Shutdown() at once; returns when the last exchange is let go.
  ~HttpServer();

  // The port that was bound, or unix:PATH.
  const std::string& address() const;
  ConnectionAcceptor::Stats connections() const;

  // Takes no more connections, closes those that are idle, lets the others end their exchange until
  // `deadline`, and closes them.
  void Shutdown(SteadyTime deadline);

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_HTTP_HTTP_SERVER_H_
