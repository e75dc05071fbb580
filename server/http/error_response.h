// File: server/http/error_response.h
//
// Errors as OpenAI's API has them,
//
//   {"error": {"message": "...", "type": "invalid_request_error", "param": "top_p", "code": "INVALID_REQUEST"}}
//
// where `code` is the reason that gRPC's clients get too (docs/cli.md). The one place where a status
// becomes HTTP's.

#ifndef SHIRA_SERVER_HTTP_ERROR_RESPONSE_H_
#define SHIRA_SERVER_HTTP_ERROR_RESPONSE_H_

#include <string_view>

#include "absl/status/status.h"
#include "server/http/http_server.h"
#include "server/http/json_body.h"

namespace shira {

int HttpStatusOf(absl::StatusCode code);

// REQUIRES for these: !status.ok(). Fields have the names of OpenAI's API. Has Retry-After where
// gRPC has RetryInfo, and WWW-Authenticate where a token is missing.
HttpResponse ErrorResponse(const absl::Status& status);
// With another status than HttpStatusOf().
HttpResponse ErrorResponse(const absl::Status& status, int http_status);
// The body alone.
Json ErrorObject(const absl::Status& status, int http_status);

}  // namespace shira

#endif  // SHIRA_SERVER_HTTP_ERROR_RESPONSE_H_
