#include "client/error_info.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "client/status_conversion.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace shira {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

google::rpc::ErrorInfo NotFound() {
  google::rpc::ErrorInfo info;
  info.set_domain("shira");
  info.set_reason("ADAPTER_NOT_FOUND");
  (*info.mutable_metadata())["name"] = "pirate";
  return info;
}

TEST(ErrorInfoTest, IsReadFromTheDetailsOfAGrpcStatus) {
  google::rpc::Status details;
  details.add_details()->PackFrom(NotFound());
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(1);
  retry.mutable_retry_delay()->set_nanos(500000000);
  details.add_details()->PackFrom(retry);

  const absl::Status status = ToAbslStatus(
      grpc::Status(grpc::NOT_FOUND, "No adapter 'pirate'", details.SerializeAsString()));

  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(), "No adapter 'pirate'");
  const std::optional<ErrorInfo> info = GetErrorInfo(status);
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->domain, "shira");
  EXPECT_EQ(info->reason, "ADAPTER_NOT_FOUND");
  EXPECT_THAT(info->metadata, ElementsAre(Pair("name", "pirate")));
  EXPECT_EQ(info->retry_delay, absl::Milliseconds(1500));
}

TEST(ErrorInfoTest, IsAbsentWithoutDetails) {
  EXPECT_FALSE(
      GetErrorInfo(ToAbslStatus(grpc::Status(grpc::UNAVAILABLE, "no connection"))).has_value());
  EXPECT_FALSE(GetErrorInfo(absl::OkStatus()).has_value());
}

TEST(ErrorInfoTest, IsAbsentWhenTheDetailsAreDamaged) {
  const std::string damaged = "\xff\xff\xff";
  const absl::Status from_wire = ToAbslStatus(grpc::Status(grpc::NOT_FOUND, "x", damaged));
  EXPECT_EQ(from_wire.code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(GetErrorInfo(from_wire).has_value());

  absl::Status payload = absl::NotFoundError("x");
  payload.SetPayload("type.googleapis.com/google.rpc.ErrorInfo", absl::Cord(damaged));
  EXPECT_FALSE(GetErrorInfo(payload).has_value());
}

TEST(ErrorInfoTest, HasNoRetryDelayUnlessTheServerGaveOne) {
  google::rpc::Status details;
  details.add_details()->PackFrom(NotFound());
  const std::optional<ErrorInfo> info =
      GetErrorInfo(ToAbslStatus(grpc::Status(grpc::NOT_FOUND, "x", details.SerializeAsString())));
  ASSERT_TRUE(info.has_value());
  EXPECT_FALSE(info->retry_delay.has_value());
}

}  // namespace
}  // namespace shira
