#include "server/http/http_connection.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <optional>
#include <sstream>
#include <string_view>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/strings.h"

namespace shira {
namespace {

namespace net = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;

// What one write takes at most, so that a slow client can be seen to make progress.
constexpr size_t kWriteBytes = size_t{64} << 10;
// What clients may send ahead of an answer; beyond it their connection is not read.
constexpr size_t kMaxAheadBytes = size_t{16} << 10;
// How long the client has for closing a connection that we have ended: closed at once, what it still
// sends would take the last response from it.
constexpr absl::Duration kLinger = absl::Seconds(2);
// Memory for a body of unknown length is asked for in steps.
constexpr int64_t kBodyStepBytes = int64_t{64} << 10;

template <typename View>  // of Boost
std::string ToString(const View& view) {
  return std::string(view.data(), view.size());
}

}  // namespace

struct RequestParser : http::request_parser<http::string_body> {};

class ConnectionExchange final : public HttpExchange,
                                 public std::enable_shared_from_this<ConnectionExchange> {
 public:
  // `held_bytes`: of MessageMemory, for the request's body; given back with the exchange, which whoever
  // still has the body holds.
  ConnectionExchange(HttpCore& core, std::shared_ptr<HttpConnection> connection, int64_t held_bytes)
      : core_(core), connection_(std::move(connection)), held_bytes_(held_bytes) {
    absl::MutexLock lock(&core_.mutex);
    ++core_.exchanges;
  }
  ~ConnectionExchange() override {
    if (held_bytes_ > 0) core_.options.memory->Release(connection_.get(), held_bytes_);
    connection_.reset();
    absl::MutexLock lock(&core_.mutex);
    --core_.exchanges;
  }

  void Observe(std::shared_ptr<HttpExchangeObserver> observer) override {
    observer_ = std::move(observer);
  }
  void Wake() override {
    Post([](HttpConnection& connection, const ConnectionExchange* self) { connection.Wake(self); });
  }
  void Respond(HttpResponse response) override {
    Post([response = std::move(response)](HttpConnection& connection,
                                          const ConnectionExchange* self) mutable {
      connection.Respond(self, std::move(response));
    });
  }
  void Begin(HttpResponse head) override {
    Post([head = std::move(head)](HttpConnection& connection,
                                  const ConnectionExchange* self) mutable {
      connection.Begin(self, std::move(head));
    });
  }
  void Write(std::string piece) override {
    Post([piece = std::move(piece)](HttpConnection& connection, const ConnectionExchange* self) {
      connection.Write(self, piece);
    });
  }
  void End(std::string last_piece) override {
    Post([piece = std::move(last_piece)](HttpConnection& connection,
                                         const ConnectionExchange* self) {
      connection.End(self, piece);
    });
  }
  bool is_gone() const override { return gone_; }

  // On the strand.
  void OnReady() {
    if (observer_ != nullptr) observer_->OnReady();
  }
  void OnDone(bool delivered) {
    gone_ = !delivered;
    const std::shared_ptr<HttpExchangeObserver> observer = std::move(observer_);
    if (observer != nullptr) observer->OnDone(delivered);
  }

 private:
  template <typename Work>
  void Post(Work work) {
    if (gone_) return;
    net::post(connection_->strand(),
              [self = shared_from_this(), connection = connection_,
               work = std::move(work)]() mutable { work(*connection, self.get()); });
  }

  HttpCore& core_;
  std::shared_ptr<HttpConnection> connection_;
  const int64_t held_bytes_;
  std::shared_ptr<HttpExchangeObserver> observer_;  // of the strand
  std::atomic<bool> gone_ = false;
};

HttpConnection::HttpConnection(HttpCore& core, Strand strand, Socket socket, std::string peer)
    : core_(core),
      strand_(std::move(strand)),
      socket_(std::move(socket)),
      timer_(strand_),
      peer_(std::move(peer)) {}

HttpConnection::~HttpConnection() = default;

void HttpConnection::Start() {
  if (core_.options.tls == nullptr) return ReadHead();
  // The stream counts as a user of the context.
  net::ssl::context context(core_.options.tls->Current().release());
  tls_ = std::make_unique<TlsStream>(socket_, context);
  SetTimer(core_.options.request);
  tls_->async_handshake(TlsStream::server, [self = shared_from_this()](const error_code& error) {
    if (self->state_ == State::kClosed) return;
    if (error) return self->Close();
    self->OnHandshake();
  });
}

void HttpConnection::OnHandshake() {
  certificate_names_ = ClientCertificateNames(tls_->native_handle());
  ReadHead();
}

void HttpConnection::ReadHead() {
  state_ = State::kHead;
  begun_ = false;
  parser_ = std::make_unique<RequestParser>();
  parser_->header_limit(static_cast<uint32_t>(core_.options.max_head_bytes));
  parser_->body_limit(static_cast<uint64_t>(core_.options.max_body_bytes));
  request_ = HttpRequest();
  without_body_ = false;
  SetTimer(core_.options.idle);
  Advance();
}

void HttpConnection::Advance() {
  while (state_ == State::kHead || state_ == State::kBody) {
    if (unread_.empty()) return Read();
    if (!begun_) {
      begun_ = true;
      SetTimer(core_.options.request);
    }
    error_code error;
    const size_t parsed = parser_->put(net::const_buffer(unread_.data(), unread_.size()), error);
    unread_.erase(0, parsed);
    const bool needs_more = error == http::error::need_more;
    if (error && !needs_more) return RefuseMalformed(error);
    if (state_ == State::kHead && parser_->is_header_done() && !OnHead()) return;
    if (state_ == State::kBody) {
      if (!HoldBody()) return;
      if (parser_->is_done()) return OnRequest();
    }
    if (!needs_more) continue;
    // Of a head the parser knows the limit, of the lines between chunks it does not.
    if (unread_.size() > static_cast<size_t>(core_.options.max_head_bytes)) {
      return RefuseMalformed(http::error::bad_chunk);
    }
    return Read();
  }
}

bool HttpConnection::OnHead() {
  const RequestParser::value_type& head = parser_->get();
  const std::string target = ToString(head.target());
  request_ = {.method = ToString(head.method_string()),
              .path = target.substr(0, target.find('?')),
              .peer = peer_,
              .certificate_names = certificate_names_};
  is_http11_ = head.version() == 11;
  keep_alive_ = parser_->keep_alive();
  without_body_ = head.method() == http::verb::head;
  for (const auto& field : head) {
    if (field.name() == http::field::authorization) {
      request_.authorizations.push_back(ToString(field.value()));
    } else if (absl::EqualsIgnoreCase(ToString(field.name_string()), "x-request-id")) {
      request_.request_ids.push_back(ToString(field.value()));
    }
  }
  // The parser takes a request in an encoding that it does not know for one without a body, and what
  // follows for the next request.
  if (head.find(http::field::transfer_encoding) != head.end() && !parser_->chunked()) {
    keep_alive_ = false;
    Refuse(core_.handler.Explain(request_, 400, "the transfer encoding is not known: chunked"));
    return false;
  }
  if (std::optional<HttpResponse> refusal = core_.handler.Refuse(request_); refusal.has_value()) {
    Refuse(*std::move(refusal));
    return false;
  }
  state_ = State::kBody;
  if (!HoldBody()) return false;
  const auto expected = head.find(http::field::expect);
  if (expected != head.end() && !parser_->is_done() &&
      absl::EqualsIgnoreCase(ToString(expected->value()), "100-continue")) {
    Send("HTTP/1.1 100 Continue\r\n\r\n", AfterWrite::kNothing);
  }
  return true;
}

// Asks for as much as has come, or as the head says will come.
bool HttpConnection::HoldBody() {
  if (core_.options.memory == nullptr) return true;
  const auto come = static_cast<int64_t>(parser_->get().body().size());
  int64_t wanted = 0;
  if (const auto length = parser_->content_length(); length) {
    wanted = static_cast<int64_t>(*length) - held_bytes_;
  } else if (come > held_bytes_) {
    wanted = (come - held_bytes_ + kBodyStepBytes - 1) / kBodyStepBytes * kBodyStepBytes;
  }
  if (wanted <= 0) return true;
  // A body that comes in small steps is large all the same.
  if (held_bytes_ + wanted > MessageMemory::kSmallBytes) {
    wanted = std::max(wanted, MessageMemory::kSmallBytes + 1);
  }
  if (core_.options.memory->Admit(this, wanted)) {
    held_bytes_ += wanted;
    return true;
  }
  Refuse(core_.handler.Explain(
      request_, 429, "the server has no memory for this request now (--message-memory-mb)"));
  return false;
}

void HttpConnection::OnRequest() {
  state_ = State::kAnswer;
  StopTimer();
  request_.body = std::move(parser_->get().body());
  parser_.reset();
  exchange_ = std::make_shared<ConnectionExchange>(core_, shared_from_this(),
                                                   std::exchange(held_bytes_, 0));
  Read();
  core_.handler.Handle(std::move(request_), exchange_);
}

// Without an exchange. What is left of the request is not read any more.
void HttpConnection::Refuse(HttpResponse response) {
  if (parser_ == nullptr || !parser_->is_done()) keep_alive_ = false;
  parser_.reset();
  state_ = State::kAnswer;
  std::string text = HeadOf(response, /*is_stream=*/false);
  if (!without_body_) text += response.body;
  Send(std::move(text), AfterWrite::kFinish);
}

void HttpConnection::RefuseMalformed(const error_code& error) {
  keep_alive_ = false;
  if (request_.peer.empty()) request_.peer = peer_;
  if (error == http::error::header_limit) {
    Refuse(
        core_.handler.Explain(request_, 431,
                              StrCat("the request's head has more than ",
                                     core_.options.max_head_bytes, " bytes (--max-metadata-kb)")));
  } else if (error == http::error::body_limit || error == http::error::buffer_overflow) {
    Refuse(
        core_.handler.Explain(request_, 413,
                              StrCat("the request's body has more than ",
                                     core_.options.max_body_bytes, " bytes (--max-message-mb)")));
  } else {
    Refuse(
        core_.handler.Explain(request_, 400, StrCat("this is no HTTP request: ", error.message())));
  }
}

void HttpConnection::Read() {
  if (reading_ || state_ == State::kClosed) return;
  reading_ = true;
  auto on_read = [self = shared_from_this()](const error_code& error, size_t bytes) {
    self->OnRead(error, bytes);
  };
  if (tls_ != nullptr) {
    tls_->async_read_some(net::buffer(input_), std::move(on_read));
  } else {
    socket_.async_read_some(net::buffer(input_), std::move(on_read));
  }
}

void HttpConnection::OnRead(const error_code& error, size_t bytes) {
  reading_ = false;
  if (state_ == State::kClosed) return;
  if (error) return Close();
  if (state_ == State::kLinger) return Read();
  unread_.append(input_.data(), bytes);
  if (state_ != State::kAnswer) return Advance();
  if (unread_.size() < kMaxAheadBytes) Read();
}

void HttpConnection::Send(std::string bytes, AfterWrite after) {
  next_ += bytes;
  after_write_ = after;
  if (!is_writing_) {
    WriteOn();
  } else if (state_ == State::kAnswer) {
    SetTimer(
        core_.options.no_progress);  // what is being written began without one, while a body came
  }
}

void HttpConnection::WriteOn() {
  if (written_ == writing_.size()) {
    writing_ = std::exchange(next_, std::string());
    written_ = 0;
  }
  if (writing_.empty()) {
    switch (std::exchange(after_write_, AfterWrite::kNothing)) {
      case AfterWrite::kNothing:
        break;
      case AfterWrite::kReady:
        StopTimer();
        exchange_->OnReady();
        break;
      case AfterWrite::kFinish:
        Finish();
        break;
    }
    return;
  }
  is_writing_ = true;
  // While a body comes, its own time counts.
  if (state_ == State::kAnswer) SetTimer(core_.options.no_progress);
  auto on_write = [self = shared_from_this()](const error_code& error, size_t bytes) {
    self->OnWrite(error, bytes);
  };
  const net::const_buffer bytes(writing_.data() + written_,
                                std::min(writing_.size() - written_, kWriteBytes));
  if (tls_ != nullptr) {
    tls_->async_write_some(bytes, std::move(on_write));
  } else {
    socket_.async_write_some(bytes, std::move(on_write));
  }
}

void HttpConnection::OnWrite(const error_code& error, size_t bytes) {
  is_writing_ = false;
  if (state_ == State::kClosed) return;
  if (error) return Close();
  written_ += bytes;
  WriteOn();
}

void HttpConnection::Finish() {
  StopTimer();
  ReleaseExchange(/*delivered=*/true);
  if (!keep_alive_ || core_.draining) return Linger();
  ReadHead();
}

void HttpConnection::Linger() {
  state_ = State::kLinger;
  SetTimer(kLinger);
  error_code ignored;
  if (tls_ != nullptr) {
    tls_->async_shutdown([self = shared_from_this()](const error_code& /*error*/) {});
  } else {
    socket_.shutdown(Socket::shutdown_send, ignored);
  }
  Read();
}

void HttpConnection::ReleaseExchange(bool delivered) {
  if (held_bytes_ > 0) core_.options.memory->Release(this, std::exchange(held_bytes_, 0));
  const std::shared_ptr<ConnectionExchange> exchange = std::move(exchange_);
  if (exchange != nullptr) exchange->OnDone(delivered);
}

void HttpConnection::Close() {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  StopTimer();
  error_code ignored;
  socket_.close(ignored);
  ReleaseExchange(/*delivered=*/false);
  absl::MutexLock lock(&core_.mutex);
  core_.connections.erase(shared_from_this());
}

std::string HttpConnection::HeadOf(const HttpResponse& response, bool is_stream) const {
  http::response<http::empty_body> head;
  head.version(is_http11_ ? 11 : 10);
  head.result(static_cast<unsigned>(response.status));
  head.set(http::field::date,
           absl::FormatTime("%a, %d %b %Y %H:%M:%S GMT", absl::Now(), absl::UTCTimeZone()));
  head.set(http::field::content_type, response.content_type);
  for (const auto& [name, value] : response.headers) head.set(name, value);
  head.keep_alive(keep_alive_ && !core_.draining);
  if (!is_stream) {
    head.content_length(response.body.size());
  } else if (chunked_) {
    head.chunked(true);
  }
  std::ostringstream text;
  text << head.base();
  return text.str();
}

std::string HttpConnection::Framed(const std::string& piece) const {
  // A chunk without bytes would be the last.
  if (!chunked_ || piece.empty()) return piece;
  return StrCat(absl::StrFormat("%x\r\n", piece.size()), piece, "\r\n");
}

bool HttpConnection::IsCurrent(const ConnectionExchange* exchange) const {
  return state_ == State::kAnswer && exchange_.get() == exchange;
}

void HttpConnection::Wake(const ConnectionExchange* exchange) {
  if (IsCurrent(exchange)) exchange_->OnReady();
}

void HttpConnection::Respond(const ConnectionExchange* exchange, HttpResponse response) {
  if (!IsCurrent(exchange)) return;
  std::string text = HeadOf(response, /*is_stream=*/false);
  if (!without_body_) text += response.body;
  Send(std::move(text), AfterWrite::kFinish);
}

void HttpConnection::Begin(const ConnectionExchange* exchange, HttpResponse head) {
  if (!IsCurrent(exchange)) return;
  // HTTP/1.0 knows no chunks: there the end of the connection is the end of the body.
  chunked_ = is_http11_;
  if (!chunked_) keep_alive_ = false;
  const std::string text = HeadOf(head, /*is_stream=*/true);
  Send(StrCat(text, Framed(head.body)), AfterWrite::kReady);
}

void HttpConnection::Write(const ConnectionExchange* exchange, const std::string& piece) {
  if (IsCurrent(exchange)) Send(Framed(piece), AfterWrite::kReady);
}

void HttpConnection::End(const ConnectionExchange* exchange, const std::string& last_piece) {
  if (!IsCurrent(exchange)) return;
  Send(StrCat(Framed(last_piece), chunked_ ? "0\r\n\r\n" : ""), AfterWrite::kFinish);
}

void HttpConnection::SetTimer(absl::Duration duration) {
  timer_.expires_after(absl::ToChronoNanoseconds(duration));
  timer_.async_wait([self = shared_from_this()](const error_code& error) {
    // Set again or stopped meanwhile.
    if (error || self->timer_.expiry() > net::steady_timer::clock_type::now()) return;
    self->OnTimer();
  });
}

void HttpConnection::StopTimer() { timer_.expires_at(net::steady_timer::time_point::max()); }

void HttpConnection::OnTimer() {
  if ((state_ != State::kHead && state_ != State::kBody) || !begun_) return Close();
  keep_alive_ = false;
  if (request_.peer.empty()) request_.peer = peer_;
  Refuse(core_.handler.Explain(
      request_, 408,
      StrCat("the request is not complete after ", absl::FormatDuration(core_.options.request))));
}

}  // namespace shira
