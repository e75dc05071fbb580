#include "server/http/error_response.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "server/generation/error_details.h"
#include "server/generation/generate_request.h"

namespace shira {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

Json ErrorOf(const HttpResponse& response) { return Json::parse(response.body)["error"]; }

TEST(ErrorResponseTest, EveryCodeHasItsStatusAndType) {
  const std::vector<std::tuple<absl::StatusCode, int, const char*>> cases = {
      {absl::StatusCode::kInvalidArgument, 400, "invalid_request_error"},
      {absl::StatusCode::kFailedPrecondition, 400, "invalid_request_error"},
      {absl::StatusCode::kUnauthenticated, 401, "authentication_error"},
      {absl::StatusCode::kPermissionDenied, 403, "permission_error"},
      {absl::StatusCode::kNotFound, 404, "invalid_request_error"},
      {absl::StatusCode::kAlreadyExists, 409, "invalid_request_error"},
      {absl::StatusCode::kAborted, 409, "invalid_request_error"},
      {absl::StatusCode::kResourceExhausted, 429, "rate_limit_error"},
      {absl::StatusCode::kInternal, 500, "server_error"},
      {absl::StatusCode::kDataLoss, 500, "server_error"},
      {absl::StatusCode::kUnavailable, 503, "server_error"},
      {absl::StatusCode::kDeadlineExceeded, 504, "server_error"},
  };
  for (const auto& [code, status, type] : cases) {
    const HttpResponse response = ErrorResponse(absl::Status(code, "why"));
    EXPECT_EQ(response.status, status);
    EXPECT_EQ(ErrorOf(response)["type"], type);
    EXPECT_EQ(ErrorOf(response)["message"], "why");
    EXPECT_EQ(ErrorOf(response)["code"], absl::StatusCodeToString(code));
    EXPECT_TRUE(ErrorOf(response)["param"].is_null());
  }
}

TEST(ErrorResponseTest, OnlyWhatMayBeTriedAgainSaysWhen) {
  EXPECT_THAT(ErrorResponse(absl::ResourceExhaustedError("full")).headers,
              Contains(Pair("Retry-After", "1")));
  EXPECT_THAT(ErrorResponse(absl::ResourceExhaustedError("large"), 413).headers, IsEmpty());
  EXPECT_THAT(ErrorResponse(absl::UnauthenticatedError("who?")).headers,
              Contains(Pair("WWW-Authenticate", "Bearer")));
  EXPECT_THAT(ErrorResponse(absl::InvalidArgumentError("no")).headers, IsEmpty());
  const HttpResponse expensive = ErrorResponse(
      WithReason(absl::ResourceExhaustedError("steps"), "CHAT_TEMPLATE_TOO_EXPENSIVE"));
  EXPECT_EQ(expensive.status, 400);
  EXPECT_THAT(expensive.headers, IsEmpty());
}

TEST(ErrorResponseTest, TheReasonIsTheCodeAndFieldsHaveOpenAisNames) {
  EXPECT_EQ(
      ErrorOf(ErrorResponse(WithReason(absl::NotFoundError("x"), "ADAPTER_NOT_FOUND")))["code"],
      "ADAPTER_NOT_FOUND");
  const RequestLimits limits{.vocab_size = 100, .max_tokens = 50};
  const auto error_of = [&](GenerateRequest request) {
    return ErrorOf(ErrorResponse(CheckAndComplete(limits, request)));
  };
  GenerateRequest valid;
  valid.input = std::string("x");
  GenerateRequest too_many = valid;
  too_many.max_tokens = 51;
  too_many.text.stop_strings = {""};
  EXPECT_EQ(error_of(too_many)["param"], "max_tokens");
  EXPECT_EQ(error_of(too_many)["code"], "INVALID_REQUEST");
  EXPECT_EQ(
      error_of(too_many)["message"],
      "max_tokens: is 51, must be within [1, 50], the server's limit; stop: entry 0 is empty");
  GenerateRequest hot = valid;
  hot.sampling.top_p = 2;
  EXPECT_EQ(error_of(hot)["message"], "top_p: expected more than 0 and at most 1, found 2");
  GenerateRequest image;
  image.input =
      Conversation{.messages = {{.role = "user", .content = std::vector<ContentPart>(1)}}};
  EXPECT_EQ(error_of(image)["param"], "messages[0].content[0]");
  GenerateRequest twice = valid;
  twice.adapters = std::vector<AdapterSelectionTerm>{{"a", 1.0}, {"a", 1.0}};
  EXPECT_EQ(error_of(twice)["param"], "model");
}

TEST(ErrorResponseTest, MessagesAreTextWhateverAClientHasSent) {
  const HttpResponse response = ErrorResponse(absl::NotFoundError("no '\xff\xfe'"));
  EXPECT_THAT(ErrorOf(response)["message"].get<std::string>(), HasSubstr("\\xff"));
}

}  // namespace
}  // namespace shira
