#include "server/http/error_response.h"

#include <string>

#include "absl/strings/str_replace.h"
#include "base/strings.h"
#include "server/generation/error_details.h"

namespace shira {
namespace {

// Messages may quote what a client has sent.
constexpr size_t kMaxMessageBytes = 4000;
constexpr int kTooManyRequests = 429;

std::string_view TypeOf(int http_status) {
  switch (http_status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 429:
      return "rate_limit_error";
    default:
      return http_status >= 500 ? "server_error" : "invalid_request_error";
  }
}

// Fields of the native request by the names that they have here.
std::string InNamesOfOpenAi(std::string_view text) {
  return absl::StrReplaceAll(ToAbsl(text),
                             {
                                 {"adapter.adapters", "model"},
                                 {"stop.max_tokens", "max_tokens"},
                                 {"stop.stop_strings", "stop"},
                                 {"stop.stop_token_ids", "stop_token_ids"},
                                 {"token_ids.ids", "prompt"},
                                 {"sampling: sampling parameters: ", ""},
                                 {"sampling.logit_bias", "logit_bias"},
                                 {"chat.messages", "messages"},
                                 {".content_parts.parts", ".content"},
                                 {".arguments_json", ".function.arguments"},
                                 {"chat.tools_json", "tools"},
                                 {"chat.documents_json", "documents"},
                                 {"chat.template_variables_json", "chat_template_kwargs"},
                             });
}

// The first field at fault. That of a parameter of sampling is in the message alone.
Json ParamOf(const ErrorMetadata& metadata) {
  const auto fields = metadata.find("fields");
  if (fields == metadata.end()) return nullptr;
  const std::string first = fields->second.substr(0, fields->second.find(','));
  if (first == "sampling") return nullptr;
  return InNamesOfOpenAi(first);
}

}  // namespace

int HttpStatusOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kOk:
      return 200;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kFailedPrecondition:
      return 400;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kAborted:
      return 409;
    case absl::StatusCode::kResourceExhausted:
      return kTooManyRequests;
    case absl::StatusCode::kCancelled:
      return 499;  // nginx's number for a client that is gone
    case absl::StatusCode::kUnimplemented:
      return 501;
    case absl::StatusCode::kUnavailable:
      return 503;
    case absl::StatusCode::kDeadlineExceeded:
      return 504;
    default:
      return 500;
  }
}

HttpResponse ErrorResponse(const absl::Status& status) {
  // The same request would be as expensive the next time: clients should not try again.
  if (DetailsOf(status).reason == "CHAT_TEMPLATE_TOO_EXPENSIVE") return ErrorResponse(status, 400);
  return ErrorResponse(status, HttpStatusOf(status.code()));
}

HttpResponse ErrorResponse(const absl::Status& status, int http_status) {
  HttpResponse response{.status = http_status, .body = JsonText(ErrorObject(status, http_status))};
  if (http_status == kTooManyRequests) {
    response.headers.emplace_back("Retry-After", StrCat(kRetrySeconds));
  }
  if (http_status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

Json ErrorObject(const absl::Status& status, int http_status) {
  const ErrorDetails details = DetailsOf(status);
  std::string message = ShortenForTrailers(ToStd(status.message()), kMaxMessageBytes);
  if (details.metadata.contains("fields")) message = InNamesOfOpenAi(message);
  return {{"error",
           {{"message", message},
            {"type", TypeOf(http_status)},
            {"param", ParamOf(details.metadata)},
            {"code", details.reason}}}};
}

}  // namespace shira
