#include "tests/testutil/fake_services.h"

#include <functional>

#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace shira::testing {

grpc::Status ErrorStatus(grpc::StatusCode code, const std::string& message,
                         const std::string& reason,
                         const std::map<std::string, std::string>& metadata, int retry_seconds) {
  google::rpc::ErrorInfo info;
  info.set_domain("shira");
  info.set_reason(reason);
  info.mutable_metadata()->insert(metadata.begin(), metadata.end());
  google::rpc::Status details;
  details.set_code(code);
  details.set_message(message);
  details.add_details()->PackFrom(info);
  if (retry_seconds > 0) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(retry_seconds);
    details.add_details()->PackFrom(retry);
  }
  return grpc::Status(code, message, details.SerializeAsString());
}

grpc::Status CheckAvailable(FakeServerState& state) {
  absl::MutexLock lock(&state.mutex);
  if (state.unavailable == 0) return grpc::Status::OK;
  --state.unavailable;
  return ErrorStatus(grpc::StatusCode::UNAVAILABLE, "The server drains", "SERVER_DRAINING", {});
}

std::string FakeDigest(const std::string& name) {
  std::string digest = absl::StrCat(absl::Hex(std::hash<std::string>()(name), absl::kZeroPad16));
  return absl::StrCat(digest, digest, digest, digest);
}

grpc::Status NoAdapter(const std::string& name) {
  return ErrorStatus(grpc::StatusCode::NOT_FOUND, absl::StrCat("No adapter '", name, "'"),
                     "ADAPTER_NOT_FOUND", {{"name", name}});
}

}  // namespace shira::testing
