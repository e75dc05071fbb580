#include "server/grpc/status_conversion.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "absl/strings/cord.h"
#include "base/strings.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/generation/error_details.h"

namespace shira {
namespace {

// The message is in the trailers twice: percent-encoded, and in base64 in the details.
constexpr size_t kMaxStatusMessageBytes = 1500;
constexpr size_t kMaxEncodedBytes = 2500;

// As much of a message as fits, however much of it is percent-encoded.
std::string FitIntoTrailers(std::string_view message) {
  const auto is_encoded = [](char c) { return c < ' ' || c > '~' || c == '%'; };
  size_t max_bytes = kMaxStatusMessageBytes;
  while (true) {
    std::string text = ShortenForTrailers(message, max_bytes);
    const size_t encoded =
        text.size() + 2 * static_cast<size_t>(std::count_if(text.begin(), text.end(), is_encoded));
    if (encoded <= kMaxEncodedBytes) return text;
    max_bytes = max_bytes * 2 / 3;
  }
}

}  // namespace

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const std::string message = FitIntoTrailers(ToStd(status.message()));

  google::rpc::Status details;
  details.set_code(static_cast<int>(status.code()));
  details.set_message(message);
  const absl::Status explained = WithReason(status, absl::StatusCodeToString(status.code()));
  explained.ForEachPayload([&](absl::string_view type_url, const absl::Cord& value) {
    google::protobuf::Any& detail = *details.add_details();
    detail.set_type_url(std::string(type_url));
    detail.set_value(std::string(value));
  });
  if (status.code() == absl::StatusCode::kResourceExhausted) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(kRetrySeconds);
    details.add_details()->PackFrom(retry);
  }
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), message,
                      details.SerializeAsString());
}

}  // namespace shira
