// File: server/http/http_service.h
//
// What is served over HTTP: a table of routes. Each is checked by the same table of roles as gRPC's
// methods (method_access.h), and what takes long is done on the lane that the RPC uses.

#ifndef SHIRA_SERVER_HTTP_HTTP_SERVICE_H_
#define SHIRA_SERVER_HTTP_HTTP_SERVICE_H_

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/access/access_control.h"
#include "server/generation/service_context.h"
#include "server/http/http_call.h"
#include "server/http/http_server.h"
#include "server/logging/call_log.h"
#include "server/logging/call_records.h"

namespace shira {

// Thread-safe.
class HttpService final : public HttpHandler {
 public:
  struct Options {
    std::string version;  // of the server
    absl::Time start;
    // False: the administration has an address of its own, and is not served here.
    bool serves_admin = true;
  };

  // What is referred to must outlive this object, and that every exchange.
  HttpService(Options options, const ServiceContext& context, CallRecords& records,
              const AccessControl& access, CallEndObserver on_end);

  // What /health says.
  void SetServing(bool serving) { serving_ = serving; }

  std::optional<HttpResponse> Refuse(const HttpRequest& head) override;
  void Handle(HttpRequest request, std::shared_ptr<HttpExchange> exchange) override;
  HttpResponse Explain(const HttpRequest& head, int status, std::string_view problem) override;

  // Of the table, for tests.
  static std::vector<std::string_view> Paths();

 private:
  // A request that was let in.
  struct Request {
    std::shared_ptr<HttpCall> call;
    std::string path;
    std::string body;
  };
  struct Route {
    std::string_view path;  // a path that ends in "/" is that of everything below it
    std::string_view verb;
    std::string_view method;  // for access, log and metrics
    bool is_admin = false;
    void (HttpService::*handle)(Request request);
  };
  // nullptr: there is none.
  static const Route* Find(std::string_view path);
  static std::string_view MethodOf(const Route* route) {
    return route != nullptr ? route->method : std::string_view();
  }
  static absl::Span<const Route> Routes();

  // UNAUTHENTICATED, PERMISSION_DENIED, or what is wrong with path and verb.
  absl::Status Check(const HttpRequest& head, const Route* route) const;

  void Health(Request request);
  void Version(Request request);
  void Models(Request request);
  void Model(Request request);
  void Chat(Request request) { Generate(std::move(request), /*is_chat=*/true); }
  void Completions(Request request) { Generate(std::move(request), /*is_chat=*/false); }
  void Generate(Request request, bool is_chat);
  void Tokenize(Request request);
  void Detokenize(Request request);
  void Load(Request request);
  void Unload(Request request);

  // Finishes with what `work` makes of the backend, if the gate is open: here for a small body,
  // else on the lane for texts.
  void FinishText(Request request,
                  absl::StatusOr<HttpResponse> (*work)(const Backend&, const std::string&));

  const Options options_;
  const ServiceContext& context_;
  CallRecords& records_;
  const AccessControl& access_;
  const CallEndObserver on_end_;
  std::atomic<bool> serving_ = false;
};

}  // namespace shira

#endif  // SHIRA_SERVER_HTTP_HTTP_SERVICE_H_
