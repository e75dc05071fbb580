#include "client/error_info.h"

#include <optional>
#include <string>

#include "absl/strings/cord.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "google/rpc/error_details.pb.h"

namespace shira {
namespace {

template <typename Detail>
std::optional<Detail> GetDetail(const absl::Status& status) {
  const absl::optional<absl::Cord> payload =
      status.GetPayload("type.googleapis.com/" + Detail::descriptor()->full_name());
  Detail detail;
  if (!payload.has_value() || !detail.ParseFromString(std::string(*payload))) return std::nullopt;
  return detail;
}

}  // namespace

std::optional<ErrorInfo> GetErrorInfo(const absl::Status& status) {
  const std::optional<google::rpc::ErrorInfo> detail = GetDetail<google::rpc::ErrorInfo>(status);
  if (!detail.has_value()) return std::nullopt;
  ErrorInfo info{.domain = detail->domain(),
                 .reason = detail->reason(),
                 .metadata = {detail->metadata().begin(), detail->metadata().end()},
                 .retry_delay = std::nullopt};
  if (const auto retry = GetDetail<google::rpc::RetryInfo>(status); retry.has_value()) {
    info.retry_delay = absl::Seconds(retry->retry_delay().seconds()) +
                       absl::Nanoseconds(retry->retry_delay().nanos());
  }
  return info;
}

}  // namespace shira
