// A server that says UNAVAILABLE for a while, and what the client makes of it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/client.h"
#include "client/error_info.h"
#include "client/retry_policy.h"
#include "tests/testutil/fake_server.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::FakeServer;
using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr absl::StatusCode kUnavailable = absl::StatusCode::kUnavailable;

class RetryTest : public ::testing::Test {
 protected:
  static v1::GenerateRequest Prompt(const std::string& text) {
    v1::GenerateRequest request;
    request.set_prompt(text);
    return request;
  }
  static ClientOptions Options(const FakeServer& server, int max_attempts) {
    ClientOptions options{.address = server.address()};
    options.retry.max_attempts = max_attempts;
    options.retry.initial_backoff = absl::Milliseconds(1);
    return options;
  }

  FakeServer server_;
  Client client_{Options(server_, 3)};
};

TEST_F(RetryTest, AGenerationThatTheServerDidNotTakeIsMadeAgain) {
  server_.MakeUnavailable(1);
  EXPECT_THAT(client_.Generate(Prompt("Hi")), IsOk());
  server_.MakeUnavailable(2);
  std::string text;
  const auto take = [&](const auto& chunk) {
    text += chunk.text();
    return true;
  };
  EXPECT_THAT(client_.StreamGenerate(Prompt("Hi"), take), IsOk());
  EXPECT_EQ(text, "You said: Hi");
  server_.MakeUnavailable(1);
  EXPECT_THAT(client_.ListAdapters(), IsOk());
}

TEST_F(RetryTest, AStreamThatHasBegunIsNotMadeAgain) {
  std::string text;
  const auto take = [&](const auto& chunk) {
    text += chunk.text();
    return true;
  };
  EXPECT_THAT(client_.StreamGenerate(Prompt("cut"), take), StatusIs(kUnavailable));
  EXPECT_EQ(text, "Y");
}

TEST_F(RetryTest, WhatChangesSomethingIsMadeOnce) {
  server_.MakeUnavailable(10);
  v1::LoadAdapterRequest load;
  load.set_name("tone");
  EXPECT_THAT(client_.LoadAdapter(load), StatusIs(kUnavailable));
  EXPECT_EQ(server_.unavailable_calls(), 9);
  v1::UploadAdapterRequest::Header header;
  header.set_name("tone");
  EXPECT_THAT(client_.UploadAdapter(header, [] { return absl::string_view(); }),
              StatusIs(kUnavailable));
  EXPECT_EQ(server_.unavailable_calls(), 8);
}

TEST_F(RetryTest, AfterTheLastAttemptTheServersErrorIsTold) {
  server_.MakeUnavailable(10);
  const absl::Status status = client_.Generate(Prompt("Hi")).status();
  EXPECT_THAT(status, StatusIs(kUnavailable));
  EXPECT_EQ(GetErrorInfo(status)->reason, "SERVER_DRAINING");
  EXPECT_EQ(server_.unavailable_calls(), 7);
}

TEST_F(RetryTest, OneAttemptMeansNoRetry) {
  const Client once(Options(server_, 1));
  server_.MakeUnavailable(10);
  EXPECT_THAT(once.Generate(Prompt("Hi")), StatusIs(kUnavailable));
  EXPECT_EQ(server_.unavailable_calls(), 9);
}

TEST_F(RetryTest, TheDeadlineHoldsForAllAttempts) {
  ClientOptions options = Options(server_, 5);
  options.retry.initial_backoff = options.retry.max_backoff = absl::Hours(1);
  const Client patient(options);
  server_.MakeUnavailable(10);
  const absl::Status status =
      patient.Generate(Prompt("Hi"), {.timeout = absl::Milliseconds(300)}).status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kDeadlineExceeded));
}

TEST(RetryServiceConfigTest, WritesDurationsAsTheServiceConfigWantsThem) {
  const std::string config =
      RetryServiceConfig({4, absl::Milliseconds(50), absl::Milliseconds(2500)});
  EXPECT_THAT(config, HasSubstr("\"initialBackoff\": \"0.050s\", \"maxBackoff\": \"2.500s\""));
  EXPECT_THAT(config, HasSubstr("\"maxAttempts\": 4"));
  EXPECT_THAT(config, Not(HasSubstr("Upload")));
}

}  // namespace
}  // namespace shira
