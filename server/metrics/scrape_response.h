// File: server/metrics/scrape_response.h
//
// The HTTP responses of the metrics port.

#ifndef SHIRA_SERVER_METRICS_SCRAPE_RESPONSE_H_
#define SHIRA_SERVER_METRICS_SCRAPE_RESPONSE_H_

#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"

namespace shira {

// Beyond it, a request is answered as one that is too large.
inline constexpr size_t kMaxRequestBytes = size_t{8} << 10;

// Whether the bytes that came so far are a whole request: its lines and the empty one. A body is
// neither wanted nor read.
bool IsWholeRequest(std::string_view bytes);

// The whole answer to a request, after which the connection is closed. `metrics` makes the text of
// /metrics; it is asked if that is wanted. HEAD gets what GET gets, without the text.
std::string ScrapeResponse(std::string_view request, absl::FunctionRef<std::string()> metrics);

// The answer to a request of more than kMaxRequestBytes.
std::string TooLargeResponse();

}  // namespace shira

#endif  // SHIRA_SERVER_METRICS_SCRAPE_RESPONSE_H_
