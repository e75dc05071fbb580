#include "server/grpc/status_conversion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/generation/error_details.h"

namespace shira {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

google::rpc::Status DetailsOf(const grpc::Status& status) {
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  return details;
}

template <typename Message>
Message Find(const google::rpc::Status& details) {
  Message message;
  for (const google::protobuf::Any& detail : details.details()) {
    if (detail.UnpackTo(&message)) return message;
  }
  ADD_FAILURE() << "no " << message.GetTypeName() << " in " << details.DebugString();
  return message;
}

TEST(StatusConversionTest, OkStaysOkWithoutDetails) {
  const grpc::Status status = ToGrpcStatus(absl::OkStatus());
  EXPECT_TRUE(status.ok());
  EXPECT_THAT(status.error_details(), IsEmpty());
}

TEST(StatusConversionTest, EveryCodeKeepsItsNumberAndGetsAReason) {
  for (int code = 1; code <= 16; ++code) {
    const absl::Status status(static_cast<absl::StatusCode>(code), "what went wrong");
    const grpc::Status converted = ToGrpcStatus(status);
    EXPECT_EQ(converted.error_code(), code);
    EXPECT_EQ(converted.error_message(), "what went wrong");
    const google::rpc::Status details = DetailsOf(converted);
    EXPECT_EQ(details.code(), code);
    EXPECT_EQ(details.message(), "what went wrong");
    const auto info = Find<google::rpc::ErrorInfo>(details);
    EXPECT_EQ(info.domain(), "shira");
    EXPECT_EQ(info.reason(), absl::StatusCodeToString(status.code()));
  }
}

TEST(StatusConversionTest, TheAttachedReasonAndMetadataArrive) {
  const absl::Status status = WithReason(absl::NotFoundError("no adapter is called 'tone'"),
                                         Operation::kUseAdapter, {{"name", "tone"}});
  const auto info = Find<google::rpc::ErrorInfo>(DetailsOf(ToGrpcStatus(status)));
  EXPECT_EQ(info.reason(), "ADAPTER_NOT_FOUND");
  EXPECT_THAT(info.metadata(), UnorderedElementsAre(Pair("name", "tone")));
}

TEST(StatusConversionTest, TheInnermostReasonWins) {
  const absl::Status inner = WithReason(absl::NotFoundError("x"), "INNER");
  const absl::Status outer = WithReason(inner, "OUTER");
  EXPECT_EQ(Find<google::rpc::ErrorInfo>(DetailsOf(ToGrpcStatus(outer))).reason(), "INNER");
}

TEST(StatusConversionTest, ACodeWithoutALineInTheTableIsItsOwnReason) {
  const absl::Status status = WithReason(absl::DataLossError("x"), Operation::kBuildPrompt);
  EXPECT_EQ(Find<google::rpc::ErrorInfo>(DetailsOf(ToGrpcStatus(status))).reason(), "DATA_LOSS");
}

TEST(StatusConversionTest, OnlyExhaustedResourcesSayWhenToTryAgain) {
  const google::rpc::Status exhausted =
      DetailsOf(ToGrpcStatus(absl::ResourceExhaustedError("the queue is full")));
  EXPECT_EQ(exhausted.details_size(), 2);
  EXPECT_GT(Find<google::rpc::RetryInfo>(exhausted).retry_delay().seconds(), 0);
  EXPECT_EQ(DetailsOf(ToGrpcStatus(absl::InternalError("x"))).details_size(), 1);
}

// Clients refuse trailers above 8 KB, and would see RESOURCE_EXHAUSTED instead of the error.
TEST(StatusConversionTest, HugeErrorsFitIntoTrailers) {
  std::string message;
  for (int i = 0; i < 10'000; ++i) message += "\u00e4";
  const absl::Status status =
      WithReason(absl::InvalidArgumentError(message), "REASON", {{"name", message}});
  const grpc::Status converted = ToGrpcStatus(status);
  constexpr size_t kPercentEncoded = 3;
  EXPECT_LT(
      converted.error_message().size() * kPercentEncoded + converted.error_details().size() * 4 / 3,
      8000);
  EXPECT_THAT(converted.error_message(), HasSubstr("more bytes"));
}

TEST(StatusConversionTest, HugeErrorsFitWhateverTheyAreMadeOf) {
  for (const char* character : {"a", "%", "\n", "\u00e4", "\u6f22", "\xff", "\x01"}) {
    std::string message;
    for (int i = 0; i < 10'000; ++i) message += character;
    const absl::Status status = WithReason(absl::ResourceExhaustedError(message), "REASON",
                                           {{"name", message}, {"path", message}});
    const grpc::Status converted = ToGrpcStatus(status);
    size_t encoded = 0;
    for (const char c : converted.error_message())
      encoded += c < ' ' || c > '~' || c == '%' ? 3 : 1;
    EXPECT_LT(encoded + converted.error_details().size() * 4 / 3, 6500u) << character;
    EXPECT_THAT(converted.error_message(), HasSubstr("more bytes"));
  }
}

TEST(ShortenForTrailersTest, CutsBetweenCharacters) {
  EXPECT_EQ(ShortenForTrailers("abc", 3), "abc");
  EXPECT_EQ(ShortenForTrailers("a\u00e4b", 2), "a... (3 more bytes)");
  EXPECT_EQ(ShortenForTrailers("a\u00e4b", 3), "a\u00e4... (1 more bytes)");
}

TEST(ShortenForTrailersTest, EscapesWhatIsNotUtf8) {
  EXPECT_EQ(ShortenForTrailers("a\xff", 10), "a\\xff");
}

}  // namespace
}  // namespace shira
