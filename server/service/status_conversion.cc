#include "server/service/status_conversion.h"

#include <string>

#include "absl/strings/cord.h"
#include "base/strings.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/service/error_details.h"

namespace shira {
namespace {

// The message is in the trailers twice: percent-encoded, and in the details.
constexpr size_t kMaxMessageBytes = 1500;
// About one short generation.
constexpr int kRetrySeconds = 1;

}  // namespace

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const std::string message = ShortenForTrailers(ToStd(status.message()), kMaxMessageBytes);

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
