// File: server/http/text_routes.h
//
// vLLM's /tokenize and /detokenize: body in, response out.

#ifndef SHIRA_SERVER_HTTP_TEXT_ROUTES_H_
#define SHIRA_SERVER_HTTP_TEXT_ROUTES_H_

#include <string>

#include "absl/status/statusor.h"
#include "server/generation/backend.h"
#include "server/http/http_server.h"

namespace shira {

// {"prompt": "..."} or {"messages": [...]}. Errors of Tokenize().
absl::StatusOr<HttpResponse> TokenizeRoute(const Backend& backend, const std::string& body);
// {"tokens": [...]}. Errors of Detokenize().
absl::StatusOr<HttpResponse> DetokenizeRoute(const Backend& backend, const std::string& body);

}  // namespace shira

#endif  // SHIRA_SERVER_HTTP_TEXT_ROUTES_H_
