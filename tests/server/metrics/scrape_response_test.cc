#include "server/metrics/scrape_response.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace shira {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string Answer(std::string_view request) {
  return ScrapeResponse(request, [] { return std::string("up 1\n"); });
}

TEST(ScrapeResponseTest, MetricsHaveTheirType) {
  EXPECT_THAT(Answer("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), HasSubstr("text/plain; version=0.0.4"),
                    HasSubstr("Content-Length: 5\r\n"), HasSubstr("Connection: close\r\n"),
                    EndsWith("\r\n\r\nup 1\n")));
  EXPECT_THAT(Answer("GET /metrics?name=x HTTP/1.0\n\n"), EndsWith("\r\n\r\nup 1\n"));
  EXPECT_THAT(Answer("HEAD /metrics HTTP/1.1\r\n\r\n"),
              AllOf(HasSubstr("Content-Length: 5\r\n"), EndsWith("\r\n\r\n")));
}

TEST(ScrapeResponseTest, NothingElseIsThere) {
  for (const char* path : {"/", "/etc/passwd", "/metrics/", "/metrics/../x", "/Metrics", "*"}) {
    const std::string request = std::string("GET ") + path + " HTTP/1.1\r\n\r\n";
    EXPECT_THAT(Answer(request), StartsWith("HTTP/1.1 404 ")) << path;
  }
  EXPECT_THAT(Answer("POST /metrics HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 405 "));
  for (const char* request : {"\n\n", "GET /metrics\r\n\r\n", "GET  /metrics HTTP/1.1\r\n\r\n",
                              "PRI * HTTP/2.0\r\n\r\n", "GET /metrics HTTP/1.1 x\r\n\r\n"}) {
    EXPECT_THAT(Answer(request), StartsWith("HTTP/1.1 400 ")) << request;
  }
}

TEST(ScrapeResponseTest, ARequestIsWholeWithItsEmptyLine) {
  EXPECT_FALSE(IsWholeRequest(""));
  EXPECT_FALSE(IsWholeRequest("GET /metrics HTTP/1.1\r\nHost: a\r\n"));
  EXPECT_TRUE(IsWholeRequest("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"));
  EXPECT_TRUE(IsWholeRequest("GET /metrics HTTP/1.1\n\n"));
}

}  // namespace
}  // namespace shira
