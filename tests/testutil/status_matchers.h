// File: tests/testutil/status_matchers.h
//
// GoogleTest matchers for absl::Status and absl::StatusOr, under the names of abseil's own, which
// come with a later release than Debian 12's.
//
//   EXPECT_THAT(file.Check(), IsOk());
//   EXPECT_THAT(Parse("7"), IsOkAndHolds(7));
//   EXPECT_THAT(Parse("x"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("x")));
//   ASSERT_OK_AND_ASSIGN(const int value, Parse("7"));

#ifndef SHIRA_TESTS_TESTUTIL_STATUS_MATCHERS_H_
#define SHIRA_TESTS_TESTUTIL_STATUS_MATCHERS_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/status_macros.h"

namespace shira::testing {

inline constexpr absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;

inline const absl::Status& StatusOf(const absl::Status& status) { return status; }
template <typename T>
const absl::Status& StatusOf(const absl::StatusOr<T>& result) {
  return result.status();
}

MATCHER(IsOk, "is OK") {
  *result_listener << StatusOf(arg);
  return arg.ok();
}

MATCHER_P(IsOkAndHolds, value_matcher, "is OK and holds a matching value") {
  if (!arg.ok()) {
    *result_listener << arg.status();
    return false;
  }
  return ::testing::ExplainMatchResult(value_matcher, *arg, result_listener);
}

MATCHER_P(StatusIs, code, "has the given status code") {
  *result_listener << StatusOf(arg);
  return StatusOf(arg).code() == code;
}

MATCHER_P2(StatusIs, code, message_matcher, "has the given status code and a matching message") {
  *result_listener << StatusOf(arg);
  return StatusOf(arg).code() == code &&
         ::testing::ExplainMatchResult(message_matcher, std::string(StatusOf(arg).message()),
                                       result_listener);
}

}  // namespace shira::testing

#define ASSERT_OK_AND_ASSIGN(lhs, expr) \
  SHIRA_ASSERT_OK_AND_ASSIGN_IMPL_(SHIRA_CONCAT_(shira_statusor_, __LINE__), lhs, expr)

#define SHIRA_ASSERT_OK_AND_ASSIGN_IMPL_(statusor, lhs, expr) \
  auto statusor = (expr);                                     \
  ASSERT_TRUE(statusor.ok()) << statusor.status();            \
  lhs = *std::move(statusor)

#endif  // SHIRA_TESTS_TESTUTIL_STATUS_MATCHERS_H_
