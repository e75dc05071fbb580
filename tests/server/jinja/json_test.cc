#include "server/jinja/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "server/jinja/limits.h"
#include "tests/testutil/status_matchers.h"

namespace shira::jinja {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::IsOkAndHolds;
using ::shira::testing::StatusIs;
using ::testing::HasSubstr;

using ::shira::testing::kInvalid;

// What json.dumps makes of what was read.
absl::StatusOr<std::string> Again(std::string_view json) {
  SHIRA_ASSIGN_OR_RETURN(const Value value, JsonReader().Read(json));
  Budget budget;
  return DumpJson(value, JsonStyle(), budget);
}

std::string Repeat(std::string_view text, int64_t count) {
  std::string repeated;
  for (int64_t i = 0; i < count; ++i) repeated += text;
  return repeated;
}

TEST(JsonTest, KeepsKeysAndNumbersAsTheyAre) {
  EXPECT_THAT(Again(R"({"z": 1, "a": {"y": [1.0, 1e21, -0.0, 1E-7]}, "b": null})"),
              IsOkAndHolds(R"({"z": 1, "a": {"y": [1.0, 1e+21, -0.0, 1e-07]}, "b": null})"));
  EXPECT_THAT(Again("[9223372036854775807, -9223372036854775808]"),
              IsOkAndHolds("[9223372036854775807, -9223372036854775808]"));
  EXPECT_THAT(Again(R"({"a": 1, "b": 2, "a": 3})"), IsOkAndHolds(R"({"a": 3, "b": 2})"));
}

TEST(JsonTest, RefusesWhatIsNoJson) {
  for (const char* json : {"", "{", "nonsense", "{\"a\": 1e}", "{\"a\": \"\\ud800\"}", "[1] 2",
                           "{\"a\": \"\xff\"}", "NaN", "1e400", "{'a': 1}"}) {
    EXPECT_THAT(JsonReader().Read(json), StatusIs(kInvalid, HasSubstr("malformed JSON"))) << json;
  }
  for (const char* json : {"99999999999999999999", "9223372036854775808", "-9223372036854775809"}) {
    EXPECT_THAT(JsonReader().Read(json), StatusIs(kInvalid, HasSubstr("64 bits"))) << json;
  }
}

TEST(JsonTest, BoundsNesting) {
  EXPECT_THAT(JsonReader().Read(Repeat("[", kMaxJsonDepth) + Repeat("]", kMaxJsonDepth)), IsOk());
  for (const std::string& open : {Repeat("[", kMaxJsonDepth + 1), Repeat("{\"a\": ", 1'000'000)}) {
    EXPECT_THAT(JsonReader().Read(open), StatusIs(kInvalid, HasSubstr("nested")));
  }
}

TEST(JsonTest, BoundsTheValuesOfAllTextsTogether) {
  JsonReader reader;
  const std::string half = "[" + Repeat("1,", kMaxJsonValues / 2 - 2) + "1]";
  EXPECT_THAT(reader.Read(half), IsOk());
  EXPECT_THAT(reader.Read(half), IsOk());
  EXPECT_THAT(reader.Read("1"), StatusIs(kInvalid, HasSubstr("values in one request")));
  EXPECT_THAT(JsonReader().Read("1"), IsOk());
}

}  // namespace
}  // namespace shira::jinja
