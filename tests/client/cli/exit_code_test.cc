#include "client/cli/exit_code.h"

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "google/rpc/error_details.pb.h"

namespace shira::cli {
namespace {

TEST(ExitCodeTest, TellsWhyACommandEnded) {
  EXPECT_EQ(ExitCodeFor(absl::OkStatus(), false), ExitCode::kOk);
  EXPECT_EQ(ExitCodeFor(absl::NotFoundError(""), false), ExitCode::kError);
  EXPECT_EQ(ExitCodeFor(absl::UnavailableError("no connection"), false), ExitCode::kUnreachable);
  EXPECT_EQ(ExitCodeFor(absl::DeadlineExceededError(""), false), ExitCode::kDeadline);
}

TEST(ExitCodeTest, TellsTheUsersInterruptFromTheServersCancellation) {
  EXPECT_EQ(ExitCodeFor(absl::CancelledError(""), true), ExitCode::kInterrupted);
  EXPECT_EQ(ExitCodeFor(absl::CancelledError(""), false), ExitCode::kError);
}

TEST(ExitCodeTest, TakesAnAnswerThatItIsUnavailableForAnAnswer) {
  absl::Status status = absl::UnavailableError("draining");
  google::rpc::ErrorInfo info;
  info.set_reason("DRAINING");
  status.SetPayload("type.googleapis.com/google.rpc.ErrorInfo",
                    absl::Cord(info.SerializeAsString()));
  EXPECT_EQ(ExitCodeFor(status, false), ExitCode::kError);
}

TEST(ExitCodeTest, PrefersSuccessToAnInterruptThatCameTooLate) {
  EXPECT_EQ(ExitCodeFor(absl::OkStatus(), true), ExitCode::kOk);
}

}  // namespace
}  // namespace shira::cli
