// File: server/http/adapter_routes.h
//
// Adapters as HTTP's clients see them: OpenAI's list of models, and vLLM's calls that load and
// unload.

#ifndef SHIRA_SERVER_HTTP_ADAPTER_ROUTES_H_
#define SHIRA_SERVER_HTTP_ADAPTER_ROUTES_H_

#include <functional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/generation/backend.h"
#include "server/http/http_server.h"

namespace shira {

// /v1/models: the base, and `with_adapters` all that a request can name: adapters, their older
// versions as name@version, aliases. `start`: of the server, for the base.
HttpResponse ModelsRoute(const Backend& backend, absl::Time start, bool with_adapters);
// /v1/models/ID. NOT_FOUND for what the list does not have.
absl::StatusOr<HttpResponse> ModelRoute(const Backend& backend, absl::Time start,
                                        bool with_adapters, std::string_view id);

// {"lora_name": "...", "lora_path": "..."}. Errors of LoadAdapter(). Takes as long as the disk does.
absl::StatusOr<HttpResponse> LoadRoute(const Backend& backend, const std::string& body);
// {"lora_name": "..."}. Errors of UnloadAdapter(). Waits for the requests that use the adapter, until
// is_gone() says that nobody waits for the response.
absl::StatusOr<HttpResponse> UnloadRoute(const Backend& backend, const std::string& body,
                                         std::function<bool()> is_gone);

}  // namespace shira

#endif  // SHIRA_SERVER_HTTP_ADAPTER_ROUTES_H_
