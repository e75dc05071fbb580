// File: server/http/http_connection.h
//
// One connection of an HTTP server, from its socket to its close. For http_server.cc alone.

#ifndef SHIRA_SERVER_HTTP_HTTP_CONNECTION_H_
#define SHIRA_SERVER_HTTP_HTTP_CONNECTION_H_

#include <array>
#include <atomic>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/http/http_server.h"

namespace shira {

class HttpConnection;

// What all connections of a server share.
struct HttpCore {
  HttpCore(HttpServer::Options with, HttpHandler& serves)
      : options(std::move(with)), handler(serves) {}

  // They parse small requests, write answers as JSON, and encrypt.
  static constexpr int kThreads = 2;

  boost::asio::io_context io{kThreads};  // first: sockets go before it
  const HttpServer::Options options;
  HttpHandler& handler;
  std::atomic<bool> draining = false;

  absl::Mutex mutex;
  absl::flat_hash_set<std::shared_ptr<HttpConnection>> connections ABSL_GUARDED_BY(mutex);
  int64_t exchanges ABSL_GUARDED_BY(mutex) = 0;  // that somebody holds
};

class ConnectionExchange;
struct RequestParser;

// Everything runs on the connection's strand.
//
//   kHandshake -> kHead -> kBody -> kAnswer -> kHead ...     -> kLinger -> kClosed
//                   |                 ^  |                       ^
//                   +-----refused-----+  +--- not kept alive ----+
//
// Any state becomes kClosed when the client is gone.
class HttpConnection final : public std::enable_shared_from_this<HttpConnection> {
 public:
  using Protocol = boost::asio::generic::stream_protocol;
  using Socket = Protocol::socket;
  using Strand = boost::asio::strand<boost::asio::io_context::executor_type>;

  // `socket` is connected, and runs on the strand. `peer`: as HttpRequest has it.
  HttpConnection(HttpCore& core, Strand strand, Socket socket, std::string peer);
  ~HttpConnection();

  void Start();
  // The server ends: at once, or when the exchange under way is over.
  void Close();
  void CloseIfIdle() {
    if (state_ == State::kHead && !begun_) Close();
  }

  const Strand& strand() const { return strand_; }

  // For the exchange under way; others do nothing.
  void Wake(const ConnectionExchange* exchange);
  void Respond(const ConnectionExchange* exchange, HttpResponse response);
  void Begin(const ConnectionExchange* exchange, HttpResponse head);
  void Write(const ConnectionExchange* exchange, const std::string& piece);
  void End(const ConnectionExchange* exchange, const std::string& last_piece);

 private:
  enum class State { kHandshake, kHead, kBody, kAnswer, kLinger, kClosed };
  // What follows when everything is written.
  enum class AfterWrite { kNothing, kReady, kFinish };
  using TlsStream = boost::asio::ssl::stream<Socket&>;
  using ErrorCode = boost::system::error_code;

  static constexpr size_t kReadBytes = size_t{8} << 10;

  void OnHandshake();
  void ReadHead();
  // Parses what has come, as far as that goes, and reads on.
  void Advance();
  // False: the request is refused.
  bool OnHead();
  bool HoldBody();
  void OnRequest();
  void Refuse(HttpResponse response);
  void RefuseMalformed(const ErrorCode& error);

  void Read();
  void OnRead(const ErrorCode& error, size_t bytes);
  void Send(std::string bytes, AfterWrite after);
  void WriteOn();
  void OnWrite(const ErrorCode& error, size_t bytes);
  void Finish();
  void Linger();
  void ReleaseExchange(bool delivered);

  std::string HeadOf(const HttpResponse& response, bool is_stream) const;
  // As the body of a stream has it.
  std::string Framed(const std::string& piece) const;
  bool IsCurrent(const ConnectionExchange* exchange) const;

  void SetTimer(absl::Duration duration);
  void StopTimer();
  void OnTimer();

  HttpCore& core_;
  const Strand strand_;
  Socket socket_;
  std::unique_ptr<TlsStream> tls_;  // nullptr: plain text
  boost::asio::steady_timer timer_;
  const std::string peer_;
  std::vector<std::string> certificate_names_;

  State state_ = State::kHandshake;
  std::array<char, kReadBytes> input_;  // of the read under way
  bool reading_ = false;
  std::string unread_;  // that came and is not parsed

  std::unique_ptr<RequestParser> parser_;  // nullptr: in kAnswer and later
  bool begun_ = false;                     // something of the request has come
  HttpRequest request_;                    // its head, while the body comes
  int64_t held_bytes_ = 0;                 // of MessageMemory
  bool is_http11_ = true;
  bool keep_alive_ = false;
  bool without_body_ = false;  // the response: to HEAD
  bool chunked_ = false;       // the stream

  std::shared_ptr<ConnectionExchange> exchange_;  // in kAnswer, unless the request was refused
  std::string writing_;                           // on its way to the kernel
  size_t written_ = 0;                            // of it
  bool is_writing_ = false;
  std::string next_;  // behind it
  AfterWrite after_write_ = AfterWrite::kNothing;
};

}  // namespace shira

#endif  // SHIRA_SERVER_HTTP_HTTP_CONNECTION_H_
