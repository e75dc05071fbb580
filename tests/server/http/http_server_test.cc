// The transport alone, with a handler of the test's and clients that send bytes.

#include "server/http/http_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "base/steady_clock.h"
#include "base/strings.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

constexpr absl::Duration kLong = absl::Seconds(20);

// A connection that sends and receives bytes.
class Client {
 public:
  // `receive_bytes`: of the kernel's buffer; 0: as it is.
  explicit Client(int port, int receive_bytes = 0) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    if (receive_bytes > 0) {
      setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes));
    }
    const timeval limit{.tv_sec = 20, .tv_usec = 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  ~Client() { Close(); }

  void Close() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }
  // Whether the other end took it.
  bool Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }
  // What has come once it ends with `end`, or the connection is closed.
  std::string ReceiveUntil(std::string_view end) {
    std::string text;
    char buffer[4096];
    while (!text.ends_with(end)) {
      const ssize_t size = recv(fd_, buffer, sizeof(buffer), 0);
      if (size <= 0) break;
      text.append(buffer, static_cast<size_t>(size));
    }
    return text;
  }
  std::string ReceiveAll() { return ReceiveUntil("\x01never\x01"); }

 private:
  int fd_;
};

// Counts what happens to an exchange.
class Recorder : public HttpExchangeObserver {
 public:
  void OnReady() override {
    absl::MutexLock lock(&mutex_);
    ++ready_;
  }
  void OnDone(bool delivered) override {
    absl::MutexLock lock(&mutex_);
    delivered_ = delivered;
    done_.Notify();
  }
  int ready() {
    absl::MutexLock lock(&mutex_);
    return ready_;
  }
  // Whether the exchange has ended, and how.
  bool WaitForDone(bool delivered) {
    if (!done_.WaitForNotificationWithTimeout(kLong)) return false;
    absl::MutexLock lock(&mutex_);
    return delivered_ == delivered;
  }
  void WaitForReady(int count) {
    absl::MutexLock lock(&mutex_);
    const auto reached = [&] { return ready_ >= count; };
    EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&reached), kLong));
  }

 private:
  absl::Mutex mutex_;
  int ready_ = 0;
  bool delivered_ = false;
  absl::Notification done_;
};

// Says back what it gets, unless the test does something else.
class Handler : public HttpHandler {
 public:
  std::optional<HttpResponse> Refuse(const HttpRequest& head) override {
    if (head.path == "/forbidden") return HttpResponse{.status = 403, .body = "no"};
    return std::nullopt;
  }
  void Handle(HttpRequest request, std::shared_ptr<HttpExchange> exchange) override {
    if (handle) return handle(std::move(request), std::move(exchange));
    exchange->Respond({.content_type = "text/plain",
                       .headers = {{"X-Test", "1"}},
                       .body = StrCat(request.method, " ", request.path, " ", request.body)});
  }
  HttpResponse Explain(const HttpRequest& /*head*/, int status, std::string_view problem) override {
    return {.status = status, .body = StrCat("explained: ", problem)};
  }

  std::function<void(HttpRequest, std::shared_ptr<HttpExchange>)> handle;
};

class HttpServerTest : public ::testing::Test {
 protected:
  void Start(HttpServer::Options options = {}) {
    options.listen = "127.0.0.1:0";
    ASSERT_OK_AND_ASSIGN(server_, HttpServer::Start(std::move(options), handler_));
    ASSERT_TRUE(absl::SimpleAtoi(server_->address(), &port_));
  }

  // An exchange that the test answers.
  std::shared_ptr<HttpExchange> Take(Client& client, const std::shared_ptr<Recorder>& recorder,
                                     std::string_view request = "GET / HTTP/1.1\r\n\r\n") {
    absl::Notification taken;
    std::shared_ptr<HttpExchange> exchange;
    handler_.handle = [&](HttpRequest, std::shared_ptr<HttpExchange> given) {
      given->Observe(recorder);
      exchange = std::move(given);
      taken.Notify();
    };
    client.Send(request);
    EXPECT_TRUE(taken.WaitForNotificationWithTimeout(kLong));
    return exchange;
  }

  Handler handler_;
  int port_ = 0;
  std::unique_ptr<HttpServer> server_;  // last: it uses the handler
};

TEST_F(HttpServerTest, AConnectionServesOneRequestAfterTheOther) {
  Start();
  Client client(port_);
  for (int i = 0; i < 3; ++i) {
    client.Send("POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
    EXPECT_THAT(client.ReceiveUntil("POST /a hello"),
                AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), HasSubstr("Content-Length: 13\r\n"),
                      HasSubstr("X-Test: 1\r\n"), Not(HasSubstr("close"))));
  }
  EXPECT_EQ(server_->connections().accepted, 1);
}

TEST_F(HttpServerTest, RequestsThatAreSentAheadAreAnsweredInTheirOrder) {
  Start();
  Client client(port_);
  client.Send(
      "GET /1 HTTP/1.1\r\n\r\nPOST /2 HTTP/1.1\r\nContent-Length: 3\r\n\r\ntwo"
      "GET /3 HTTP/1.1\r\nConnection: close\r\n\r\n");
  const std::string text = client.ReceiveAll();
  EXPECT_LT(text.find("GET /1 "), text.find("POST /2 two"));
  EXPECT_LT(text.find("POST /2 two"), text.find("GET /3 "));
  EXPECT_THAT(text, AllOf(EndsWith("GET /3 "), HasSubstr("Connection: close")));
}

TEST_F(HttpServerTest, BodiesInChunksAndByteByByteAreWhole) {
  Start();
  Client client(port_);
  const std::string request =
      "POST /a HTTP/1.1\r\nTransfer-Encoding: "
      "chunked\r\n\r\n5\r\nhello\r\n3;x=y\r\n!!!\r\n0\r\n\r\n";
  for (const char byte : request) client.Send(std::string(1, byte));
  EXPECT_THAT(client.ReceiveUntil("POST /a hello!!!"), StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpServerTest, WhatIsNoRequestIsExplainedAndTheConnectionClosed) {
  Start({.max_head_bytes = 1000, .max_body_bytes = 100});
  const std::vector<std::pair<std::string, int>> cases = {
      {"hello\r\n\r\n", 400},
      {"GET / HTTP/3.0\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
      {StrCat("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;", std::string(2000, 'x')),
       400},
      {StrCat("GET / HTTP/1.1\r\nX: ", std::string(2000, 'x')), 431},
      {StrCat("GET /", std::string(2000, 'x')), 431},
      {"POST / HTTP/1.1\r\nContent-Length: 101\r\n\r\n", 413},
      {StrCat("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n", std::string(101, 'x')),
       413},
  };
  for (const auto& [request, status] : cases) {
    Client client(port_);
    client.Send(request);
    EXPECT_THAT(client.ReceiveAll(),
                AllOf(StartsWith(StrCat("HTTP/1.1 ", status, " ")), HasSubstr("Connection: close"),
                      HasSubstr("explained: ")))
        << request.substr(0, 100);
  }
  Client client(port_);
  client.Send(StrCat("POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\n", std::string(100, 'x')));
  EXPECT_THAT(client.ReceiveUntil("xxx"), StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpServerTest, ARefusedBodyIsNotReadAndTheResponseArrivesNevertheless) {
  Start();
  Client client(port_);
  client.Send("POST /forbidden HTTP/1.1\r\nContent-Length: 8000000\r\n\r\n");
  // A client that cannot send would not look for a response.
  EXPECT_TRUE(client.Send(std::string(8'000'000, 'x')));
  EXPECT_THAT(client.ReceiveAll(),
              AllOf(StartsWith("HTTP/1.1 403"), HasSubstr("Connection: close"), EndsWith("no")));
  Client other(port_);
  other.Send("GET /forbidden HTTP/1.1\r\n\r\n");
  EXPECT_THAT(other.ReceiveUntil("no"), Not(HasSubstr("close")));
  other.Send("GET / HTTP/1.1\r\n\r\n");
  EXPECT_THAT(other.ReceiveUntil("GET / "), StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpServerTest, ABodyIsAskedForWithContinue) {
  Start();
  Client client(port_);
  client.Send("POST /a HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.ReceiveUntil("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.Send("hi");
  EXPECT_THAT(client.ReceiveUntil("POST /a hi"), StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpServerTest, BodiesHaveMemoryAsLongAsSomebodyHasTheExchange) {
  auto memory = std::make_shared<MessageMemory>(MessageMemory::Options{.limit_bytes = 4000});
  Start({.memory = memory});
  const auto wait_until_free = [&] {
    const SteadyTime end = SteadyNow() + kLong;
    while (memory->stats().held_bytes > 0 && SteadyNow() < end)
      absl::SleepFor(absl::Milliseconds(1));
    return memory->stats().held_bytes == 0;
  };
  const std::string request =
      StrCat("POST / HTTP/1.1\r\nContent-Length: 900\r\n\r\n", std::string(900, 'x'));
  Client client(port_);
  auto recorder = std::make_shared<Recorder>();
  std::shared_ptr<HttpExchange> exchange = Take(client, recorder, request);
  EXPECT_EQ(memory->stats().held_bytes, 900);
  exchange->Respond({.body = "ok"});
  EXPECT_TRUE(recorder->WaitForDone(true));
  exchange.reset();
  EXPECT_TRUE(wait_until_free());

  // A body whose client has left is still there, where it waits for its turn.
  Client leaves(port_);
  auto left = std::make_shared<Recorder>();
  exchange = Take(leaves, left, request);
  leaves.Close();
  EXPECT_TRUE(left->WaitForDone(false));
  EXPECT_EQ(memory->stats().held_bytes, 900);
  exchange.reset();
  EXPECT_TRUE(wait_until_free());

  client.Send("POST / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n");  // a connection has a quarter
  EXPECT_THAT(client.ReceiveAll(), HasSubstr("HTTP/1.1 429"));
  Client chunks(port_);
  chunks.Send("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
  EXPECT_THAT(chunks.ReceiveAll(), HasSubstr("HTTP/1.1 429"));
  EXPECT_EQ(memory->stats().held_bytes, 0);
}

TEST_F(HttpServerTest, AStreamIsWrittenPieceByPiece) {
  Start();
  Client client(port_);
  auto recorder = std::make_shared<Recorder>();
  const std::shared_ptr<HttpExchange> exchange = Take(client, recorder);
  exchange->Wake();
  recorder->WaitForReady(1);
  exchange->Begin({.content_type = "text/event-stream", .body = "one"});
  EXPECT_THAT(client.ReceiveUntil("3\r\none\r\n"),
              AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("Transfer-Encoding: chunked")));
  recorder->WaitForReady(2);
  exchange->Write("");
  recorder->WaitForReady(3);
  exchange->Write("0123456789abcdef");
  EXPECT_EQ(client.ReceiveUntil("f\r\n"), "10\r\n0123456789abcdef\r\n");
  recorder->WaitForReady(4);
  exchange->End("end");
  EXPECT_EQ(client.ReceiveUntil("0\r\n\r\n"), "3\r\nend\r\n0\r\n\r\n");
  EXPECT_TRUE(recorder->WaitForDone(true));
  handler_.handle = nullptr;
  client.Send("GET /next HTTP/1.1\r\n\r\n");
  EXPECT_THAT(client.ReceiveUntil("GET /next "), StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpServerTest, AClientOfHttp10GetsAStreamThatEndsWithTheConnection) {
  Start();
  Client client(port_);
  auto recorder = std::make_shared<Recorder>();
  const std::shared_ptr<HttpExchange> exchange =
      Take(client, recorder, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  exchange->Begin({.body = "one"});
  recorder->WaitForReady(1);
  exchange->End("two");
  EXPECT_THAT(client.ReceiveAll(), AllOf(StartsWith("HTTP/1.0 200"), EndsWith("\r\n\r\nonetwo"),
                                         Not(HasSubstr("chunked"))));
}

TEST_F(HttpServerTest, AClientThatGoesAwayIsNoticedWhileNothingIsWritten) {
  Start();
  for (const bool in_stream : {false, true}) {
    Client client(port_);
    auto recorder = std::make_shared<Recorder>();
    const std::shared_ptr<HttpExchange> exchange = Take(client, recorder);
    if (in_stream) {
      exchange->Begin({.body = "one"});
      recorder->WaitForReady(1);
    }
    EXPECT_FALSE(exchange->is_gone());
    client.Close();
    EXPECT_TRUE(recorder->WaitForDone(false));
    EXPECT_TRUE(exchange->is_gone());
    exchange->Write("two");  // harmless
    exchange->End("");
  }
}

TEST_F(HttpServerTest, AClientThatReadsNothingHoldsOnePieceBack) {
  Start({.no_progress = absl::Seconds(1)});
  Client client(port_, /*receive_bytes=*/4096);
  auto recorder = std::make_shared<Recorder>();
  const std::shared_ptr<HttpExchange> exchange = Take(client, recorder);
  exchange->Begin({.body = std::string(8 << 20, 'x')});
  absl::SleepFor(absl::Milliseconds(300));
  EXPECT_EQ(recorder->ready(), 0);
  EXPECT_TRUE(recorder->WaitForDone(false));  // it has taken nothing for a second
}

TEST_F(HttpServerTest, IdleConnectionsAndHalfRequestsHaveTheirTime) {
  Start({.idle = absl::Milliseconds(200), .request = absl::Milliseconds(200)});
  Client idle(port_);
  EXPECT_THAT(idle.ReceiveAll(), IsEmpty());
  Client half(port_);
  half.Send("GET / HTTP/1.1\r\nX: ");
  EXPECT_THAT(half.ReceiveAll(), AllOf(StartsWith("HTTP/1.1 408"), HasSubstr("explained: ")));
  Client body(port_);
  body.Send("POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nx");
  EXPECT_THAT(body.ReceiveAll(), StartsWith("HTTP/1.1 408"));
  // A request under way has all the time.
  Client slow(port_);
  auto recorder = std::make_shared<Recorder>();
  const std::shared_ptr<HttpExchange> exchange = Take(slow, recorder);
  absl::SleepFor(absl::Milliseconds(500));
  exchange->Respond({.body = "done"});
  EXPECT_THAT(slow.ReceiveUntil("done"), StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpServerTest, AResponseToHeadHasNoBody) {
  Start();
  Client client(port_);
  client.Send("HEAD /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\nConnection: close\r\n\r\n");
  const std::string text = client.ReceiveAll();
  EXPECT_THAT(text, AllOf(HasSubstr("Content-Length: 8\r\n"), Not(HasSubstr("HEAD /a"))));
  EXPECT_THAT(text, EndsWith("GET /b "));
}

TEST_F(HttpServerTest, ShutdownEndsWhatIsIdleAndWaitsForTheRest) {
  Start();
  Client idle(port_);
  idle.Send("GET / HTTP/1.1\r\n\r\n");
  idle.ReceiveUntil("GET / ");
  Client busy(port_);
  auto recorder = std::make_shared<Recorder>();
  std::shared_ptr<HttpExchange> exchange = Take(busy, recorder);
  std::thread shutdown([&] { server_->Shutdown(SteadyNow() + kLong); });
  EXPECT_THAT(idle.ReceiveAll(), IsEmpty());
  exchange->Respond({.body = "last"});
  EXPECT_THAT(busy.ReceiveAll(), AllOf(HasSubstr("Connection: close"), EndsWith("last")));
  busy.Close();
  shutdown.join();
  exchange.reset();
}

TEST_F(HttpServerTest, TheEndOfTheServerEndsExchanges) {
  Start();
  Client client(port_);
  auto recorder = std::make_shared<Recorder>();
  std::shared_ptr<HttpExchange> exchange = Take(client, recorder);
  std::thread end([&] { server_.reset(); });
  EXPECT_TRUE(recorder->WaitForDone(false));
  exchange.reset();
  end.join();
}

TEST_F(HttpServerTest, AnAddressInUseIsRefused) {
  Start();
  EXPECT_THAT(HttpServer::Start({.listen = StrCat("127.0.0.1:", port_)}, handler_).status(),
              ::shira::testing::StatusIs(absl::StatusCode::kUnavailable, HasSubstr("for HTTP")));
}

}  // namespace
}  // namespace shira
