#include "client/cli/text_input.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/testutil/status_matchers.h"

namespace shira::cli {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::IsOkAndHolds;
using ::shira::testing::StatusIs;
using ::testing::HasSubstr;

TEST(TextInputTest, IsTheArgumentItself) {
  EXPECT_THAT(ReadText("grüße 🏴"), IsOkAndHolds("grüße 🏴"));
}

TEST(TextInputTest, TakesUtf8Only) {
  EXPECT_THAT(CheckUtf8(""), IsOk());
  EXPECT_THAT(CheckUtf8(std::string("a\0b", 3)), IsOk());
  // A byte that never occurs, a character cut short, an overlong form, a surrogate.
  for (const char* text : {"ab\xff", "ab\xc3", "ab\xc0\xaf", "ab\xed\xa0\x80"}) {
    EXPECT_THAT(CheckUtf8(text),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("at byte 2")));
  }
}

}  // namespace
}  // namespace shira::cli
