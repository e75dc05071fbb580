#include "server/metrics/scrape_response.h"

#include <vector>

#include "absl/strings/str_split.h"
#include "base/strings.h"

namespace shira {
namespace {

constexpr std::string_view kPath = "/metrics";
constexpr std::string_view kText = "text/plain; charset=utf-8";
constexpr std::string_view kMetrics = "text/plain; version=0.0.4; charset=utf-8";

std::string Response(std::string_view status, std::string_view type, std::string_view body,
                     bool with_body = true) {
  return StrCat("HTTP/1.1 ", status, "\r\nContent-Type: ", type,
                "\r\nContent-Length: ", body.size(), "\r\nConnection: close\r\n\r\n",
                with_body ? body : std::string_view());
}

}  // namespace

bool IsWholeRequest(std::string_view bytes) {
  return bytes.find("\r\n\r\n") != std::string_view::npos ||
         bytes.find("\n\n") != std::string_view::npos;
}

std::string ScrapeResponse(std::string_view request, absl::FunctionRef<std::string()> metrics) {
  const std::string_view line = request.substr(0, request.find_first_of("\r\n"));
  const std::vector<std::string> words = absl::StrSplit(ToAbsl(line), ' ');
  if (words.size() != 3 || !words[2].starts_with("HTTP/1.")) {
    return Response("400 Bad Request", kText, "not HTTP/1\n");
  }
  const bool is_head = words[0] == "HEAD";
  if (words[0] != "GET" && !is_head) {
    return Response("405 Method Not Allowed", kText, "GET only\n");
  }
  if (words[1].substr(0, words[1].find('?')) != kPath) {
    return Response("404 Not Found", kText, "the metrics are at /metrics\n", !is_head);
  }
  return Response("200 OK", kMetrics, metrics(), !is_head);
}

std::string TooLargeResponse() {
  return Response("431 Request Header Fields Too Large", kText, "too large\n");
}

}  // namespace shira
