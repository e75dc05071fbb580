#include "server/http/http_service.h"

#include <array>
#include <utility>

#include "base/out_of_memory.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "base/strings.h"
#include "server/access/role.h"
#include "server/generation/backend.h"
#include "server/generation/error_details.h"
#include "server/generation/prompt_builder.h"
#include "server/http/adapter_routes.h"
#include "server/http/error_response.h"
#include "server/http/generate_call.h"
#include "server/http/generation_request.h"
#include "server/http/json_body.h"
#include "server/http/text_routes.h"
#include "server/logging/request_scope.h"

namespace shira {
namespace {

constexpr std::string_view kModelPrefix = "/v1/models/";
constexpr int kMethodNotAllowed = 405;

CallerCredentials CredentialsOf(const HttpRequest& head) {
  CallerCredentials credentials;
  credentials.authorizations.assign(head.authorizations.begin(), head.authorizations.end());
  credentials.certificate_names = head.certificate_names;
  return credentials;
}

// The code whose HTTP status comes nearest, for the log and the metrics.
absl::StatusCode CodeOf(int http_status) {
  switch (http_status) {
    case 408:
      return absl::StatusCode::kDeadlineExceeded;
    case 413:
    case 429:
    case 431:
      return absl::StatusCode::kResourceExhausted;
    default:
      return absl::StatusCode::kInvalidArgument;
  }
}

bool MaySeeAdapters(const HttpCall& call) {
  return call.record()->roles.Intersects({Role::kReadOnly, Role::kAdmin});
}

// What a client has escaped in a path; the text itself where that is malformed.
std::string Unescaped(std::string_view path) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  std::string text;
  for (size_t i = 0; i < path.size(); ++i) {
    if (path[i] != '%') {
      text += path[i];
      continue;
    }
    const int high = i + 2 < path.size() ? digit(path[i + 1]) : -1;
    const int low = i + 2 < path.size() ? digit(path[i + 2]) : -1;
    if (high < 0 || low < 0) return std::string(path);
    text += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return text;
}

}  // namespace

HttpService::HttpService(Options options, const ServiceContext& context, CallRecords& records,
                         const AccessControl& access, CallEndObserver on_end)
    : options_(std::move(options)),
      context_(context),
      records_(records),
      access_(access),
      on_end_(std::move(on_end)) {}

absl::Span<const HttpService::Route> HttpService::Routes() {
  static constexpr auto kRoutes = std::to_array<Route>({
      {"/health", "GET", "/health", false, &HttpService::Health},
      {"/version", "GET", "/version", false, &HttpService::Version},
      {"/v1/models", "GET", "/v1/models", false, &HttpService::Models},
      {kModelPrefix, "GET", "/v1/models", false, &HttpService::Model},
      {"/v1/chat/completions", "POST", "/v1/chat/completions", false, &HttpService::Chat},
      {"/v1/completions", "POST", "/v1/completions", false, &HttpService::Completions},
      {"/tokenize", "POST", "/tokenize", false, &HttpService::Tokenize},
      {"/detokenize", "POST", "/detokenize", false, &HttpService::Detokenize},
      {"/v1/load_lora_adapter", "POST", "/v1/load_lora_adapter", true, &HttpService::Load},
      {"/v1/unload_lora_adapter", "POST", "/v1/unload_lora_adapter", true, &HttpService::Unload},
  });
  return kRoutes;
}

std::vector<std::string_view> HttpService::Paths() {
  std::vector<std::string_view> paths;
  for (const Route& route : Routes()) paths.push_back(route.method);
  return paths;
}

const HttpService::Route* HttpService::Find(std::string_view path) {
  for (const Route& route : Routes()) {
    const bool is_prefix = route.path.ends_with('/');
    if (is_prefix ? path.starts_with(route.path) && path.size() > route.path.size()
                  : path == route.path) {
      return &route;
    }
  }
  return nullptr;
}

absl::Status HttpService::Check(const HttpRequest& head, const Route* route) const {
  // Who calls comes first, so that strangers do not learn what there is. The table's other methods are
  // gRPC's, and no paths.
  const absl::Status access = access_.Check(MethodOf(route), CredentialsOf(head));
  const bool is_elsewhere = route != nullptr && route->is_admin && !options_.serves_admin;
  if (absl::IsUnimplemented(access) || (access.ok() && is_elsewhere)) {
    return WithReason(
        absl::NotFoundError(
            StrCat("there is no ", ShortenForTrailers(head.path, 200),
                   is_elsewhere ? " here: the administration is at --admin-listen" : " here")),
        "UNKNOWN_PATH");
  }
  SHIRA_RETURN_IF_ERROR(access);
  if (head.method == route->verb) return absl::OkStatus();
  return WithReason(absl::InvalidArgumentError(
                        StrCat(route->path, " is for ", route->verb, ", not for ", head.method)),
                    "METHOD_NOT_ALLOWED");
}

std::optional<HttpResponse> HttpService::Refuse(const HttpRequest& head) {
  const Route* route = Find(head.path);
  const absl::Status status = Check(head, route);
  if (status.ok()) return std::nullopt;
  LogRefusal(head.path, status);
  on_end_(MethodOf(route), status.code(), absl::ZeroDuration());
  if (!absl::IsInvalidArgument(status)) return ErrorResponse(status);
  HttpResponse response = ErrorResponse(status, kMethodNotAllowed);
  response.headers.emplace_back("Allow", route->verb);
  return response;
}

HttpResponse HttpService::Explain(const HttpRequest& head, int status, std::string_view problem) {
  const absl::Status error(CodeOf(status), ToAbsl(problem));
  LogRefusal(head.path, error);
  on_end_(MethodOf(Find(head.path)), error.code(), absl::ZeroDuration());
  return ErrorResponse(error, status);
}

void HttpService::Handle(HttpRequest request, std::shared_ptr<HttpExchange> exchange) {
  const Route& route = *Find(request.path);
  auto record = std::make_shared<CallRecord>();
  record->method = route.method;
  record->peer = request.peer;
  record->start = SteadyNow();
  const bool has_id = request.request_ids.size() == 1 && IsRequestId(request.request_ids.front());
  record->request_id = has_id ? request.request_ids.front() : NewRequestId();
  // The check has let the call in; this says again as whom.
  if (absl::StatusOr<Identity> identity = access_.Identify(CredentialsOf(request)); identity.ok()) {
    record->identity = identity->name;
    record->roles = identity->roles;
  }
  const RequestScope scope(record->request_id);
  auto call = std::make_shared<HttpCall>(std::move(exchange), std::move(record), records_, on_end_);
  (this->*route.handle)(Request{std::move(call), std::move(request.path), std::move(request.body)});
}

void HttpService::Health(Request request) {
  FinishHere(*request.call, [this]() -> absl::StatusOr<HttpResponse> {
    SHIRA_RETURN_IF_ERROR(context_.gate.Enter().status());
    if (!serving_) return absl::UnavailableError("the server does not serve: see its log");
    return HttpResponse{.body = JsonText({{"status", "ok"}})};
  });
}

void HttpService::Version(Request request) {
  FinishHere(*request.call, [this]() -> absl::StatusOr<HttpResponse> {
    return HttpResponse{.body = JsonText({{"version", options_.version}})};
  });
}

void HttpService::Models(Request request) {
  FinishHere(*request.call, [&]() -> absl::StatusOr<HttpResponse> {
    SHIRA_ASSIGN_OR_RETURN(const Backend* backend, context_.gate.Enter());
    return ModelsRoute(*backend, options_.start, MaySeeAdapters(*request.call));
  });
}

void HttpService::Model(Request request) {
  FinishHere(*request.call, [&]() -> absl::StatusOr<HttpResponse> {
    SHIRA_ASSIGN_OR_RETURN(const Backend* backend, context_.gate.Enter());
    return ModelRoute(*backend, options_.start, MaySeeAdapters(*request.call),
                      Unescaped(std::string_view(request.path).substr(kModelPrefix.size())));
  });
}

void HttpService::Generate(Request request, bool is_chat) {
  const std::shared_ptr<GenerateCall> generate = GenerateCall::Observe(request.call, context_);
  const size_t bytes = request.body.size();
  auto work = [this, call = request.call, generate, is_chat,
               body = std::make_shared<const std::string>(std::move(request.body))] {
    const RequestScope scope(call->record()->request_id);
    if (call->exchange().is_gone()) return call->End(absl::CancelledError("the client is gone"));
    const absl::Status status = CatchOutOfMemory([&]() -> absl::Status {
      SHIRA_ASSIGN_OR_RETURN(const Backend* backend, context_.gate.Enter());
      SHIRA_ASSIGN_OR_RETURN(const Json json, ParseJsonBody(*body));
      const std::string& base = backend->model.name;
      SHIRA_ASSIGN_OR_RETURN(HttpGeneration generation, is_chat
                                                            ? ParseChatRequest(json, base)
                                                            : ParseCompletionRequest(json, base));
      generate->Start(*backend, std::move(generation), is_chat);
      return absl::OkStatus();
    });
    if (!status.ok()) call->Finish(status);
  };
  if (bytes <= kSmallInputBytes) return work();
  const absl::Status queued =
      context_.text_work.Add(request.call->record()->client(), std::move(work));
  if (!queued.ok()) request.call->Finish(WithReason(queued, "SERVER_BUSY"));
}

void HttpService::FinishText(Request request,
                             absl::StatusOr<HttpResponse> (*work)(const Backend&,
                                                                  const std::string&)) {
  const bool is_small = request.body.size() <= kSmallInputBytes;
  const std::shared_ptr<HttpCall> call = request.call;
  HttpWork finish = [this, work,
                     body = std::make_shared<const std::string>(
                         std::move(request.body))]() -> absl::StatusOr<HttpResponse> {
    SHIRA_ASSIGN_OR_RETURN(const Backend* backend, context_.gate.Enter());
    return work(*backend, *body);
  };
  if (is_small) return FinishHere(*call, finish);
  FinishOn(context_.text_work, call, std::move(finish));
}

void HttpService::Tokenize(Request request) { FinishText(std::move(request), &TokenizeRoute); }
void HttpService::Detokenize(Request request) { FinishText(std::move(request), &DetokenizeRoute); }

void HttpService::Load(Request request) {
  FinishOn(context_.disk_work, request.call,
           [this, body = request.body]() -> absl::StatusOr<HttpResponse> {
             SHIRA_ASSIGN_OR_RETURN(const Backend* backend, context_.gate.Enter());
             return LoadRoute(*backend, body);
           });
}

void HttpService::Unload(Request request) {
  FinishOn(context_.control_work, request.call,
           [this, call = request.call, body = request.body]() -> absl::StatusOr<HttpResponse> {
             SHIRA_ASSIGN_OR_RETURN(const Backend* backend, context_.gate.Enter());
             return UnloadRoute(*backend, body, [call] { return call->exchange().is_gone(); });
           });
}

}  // namespace shira
