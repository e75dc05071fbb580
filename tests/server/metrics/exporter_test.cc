#include "server/metrics/exporter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "base/strings.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::StatusIs;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

constexpr char kRequest[] = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";

class Caller {
 public:
  explicit Caller(int port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  }
  ~Caller() { close(fd_); }
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;

  void Send(std::string_view text) { send(fd_, text.data(), text.size(), MSG_NOSIGNAL); }

  // Everything until the other end closes.
  std::string ReadAll() {
    std::string text;
    char buffer[4096];
    for (ssize_t size; (size = recv(fd_, buffer, sizeof(buffer), 0)) > 0;) {
      text.append(buffer, static_cast<size_t>(size));
    }
    return text;
  }

 private:
  const int fd_;
};

std::string Scrape(int port) {
  Caller caller(port);
  caller.Send(kRequest);
  return caller.ReadAll();
}

TEST(MetricsExporterTest, SaysWhereItCannotListen) {
  const Metrics metrics({});
  ASSERT_OK_AND_ASSIGN(const auto exporter,
                       MetricsExporter::Start({.listen = "127.0.0.1:0"}, metrics));
  EXPECT_GT(exporter->port(), 0);
  EXPECT_THAT(MetricsExporter::Start({.listen = StrCat("127.0.0.1:", exporter->port())}, metrics),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("for metrics")));
}

TEST(MetricsExporterTest, ARequestMayComeInPieces) {
  Metrics metrics({});
  metrics.ForAdapter("a").CountTokens(1, 2);
  ASSERT_OK_AND_ASSIGN(const auto exporter,
                       MetricsExporter::Start({.listen = "127.0.0.1:0"}, metrics));
  Caller caller(exporter->port());
  for (const char* c = kRequest; *c != '\0'; ++c) caller.Send({c, 1});
  EXPECT_THAT(caller.ReadAll(), HasSubstr("shira_generated_tokens_total{adapter=\"a\"} 2\n"));
}

TEST(MetricsExporterTest, HalfRequestsKeepNobodyFromTheFigures) {
  const Metrics metrics({});
  ASSERT_OK_AND_ASSIGN(
      const auto exporter,
      MetricsExporter::Start({.listen = "127.0.0.1:0", .max_connections = 8}, metrics));
  std::vector<std::unique_ptr<Caller>> callers;
  for (int i = 0; i < 30; ++i) {
    callers.push_back(std::make_unique<Caller>(exporter->port()));
    callers.back()->Send("GET /metrics HTTP/1.1\r\nHos");
  }
  EXPECT_THAT(Scrape(exporter->port()), StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(callers.front()->ReadAll(), IsEmpty());  // it had to make room
}

TEST(MetricsExporterTest, WhoIsSilentIsGivenUp) {
  const Metrics metrics({});
  ASSERT_OK_AND_ASSIGN(
      const auto exporter,
      MetricsExporter::Start({.listen = "127.0.0.1:0", .timeout = absl::Milliseconds(1)}, metrics));
  Caller caller(exporter->port());
  EXPECT_THAT(caller.ReadAll(), IsEmpty());
}

TEST(MetricsExporterTest, ARequestWithoutAnEndIsRefused) {
  const Metrics metrics({});
  ASSERT_OK_AND_ASSIGN(const auto exporter,
                       MetricsExporter::Start({.listen = "127.0.0.1:0"}, metrics));
  Caller caller(exporter->port());
  caller.Send("GET /metrics HTTP/1.1\r\nX: " + std::string(8170, 'x'));
  EXPECT_THAT(caller.ReadAll(), StartsWith("HTTP/1.1 431 "));
}

}  // namespace
}  // namespace shira
