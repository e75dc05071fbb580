#include "server/http/json_body.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/strings.h"
#include "server/generation/error_details.h"
#include "server/http/json_fields.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using ::shira::testing::kInvalid;

std::string Nested(int levels) {
  // The object itself is one.
  return StrCat(R"({"a":)", std::string(levels - 1, '['), std::string(levels - 1, ']'), "}");
}

std::string WithKeys(int count) {
  std::string text = "{";
  for (int i = 0; i < count; ++i) StrAppend(&text, i == 0 ? "" : ",", "\"k", i, "\":0");
  return text + "}";
}

TEST(JsonBodyTest, KeysKeepTheirOrderAndTheLastOfEqualOnesCounts) {
  ASSERT_OK_AND_ASSIGN(const Json json, ParseJsonBody(R"({"z":1,"a":{"y":2,"b":3},"z":4})"));
  EXPECT_EQ(JsonText(json), R"({"z":4,"a":{"y":2,"b":3}})");
}

TEST(JsonBodyTest, WhatIsNoObjectWithinTheBoundsIsRefused) {
  for (const char* text : {"", "{", "[1]", "7", "null", "\"x\"", "{\"a\":1}x", "{\"a\":\"\xff\"}",
                           "{\"a\":\"\\ud800\"}", "{a:1}", "{\"a\":NaN}"}) {
    const absl::Status status = ParseJsonBody(text).status();
    EXPECT_THAT(status, StatusIs(kInvalid)) << text;
    EXPECT_EQ(DetailsOf(status).reason, "INVALID_REQUEST") << text;
  }
  EXPECT_THAT(ParseJsonBody(Nested(kMaxJsonBodyDepth)), IsOk());
  EXPECT_THAT(ParseJsonBody(Nested(kMaxJsonBodyDepth + 1)),
              StatusIs(kInvalid, HasSubstr("levels")));
  EXPECT_THAT(ParseJsonBody(Nested(1'000'000)), StatusIs(kInvalid, HasSubstr("levels")));
  EXPECT_THAT(ParseJsonBody(WithKeys(kMaxJsonBodyKeys)), IsOk());
  EXPECT_THAT(ParseJsonBody(WithKeys(kMaxJsonBodyKeys + 1)), StatusIs(kInvalid, HasSubstr("keys")));
  std::string objects = "{\"a\":[0";
  for (int i = 0; i < 6; ++i) StrAppend(&objects, ",", WithKeys(kMaxJsonBodyKeys));
  EXPECT_THAT(ParseJsonBody(objects + "]}"),
              StatusIs(kInvalid, HasSubstr("too many keys in its objects")));
  std::string many = "{\"a\":[0";  // the object, the list and a number
  for (int64_t i = 3; i < kMaxJsonBodyValues; ++i) many += ",0";
  EXPECT_THAT(ParseJsonBody(many + "]}"), IsOk());
  EXPECT_THAT(ParseJsonBody(many + ",0]}"), StatusIs(kInvalid, HasSubstr("values")));
  EXPECT_THAT(ParseJsonBody(R"({"a":18446744073709551615})"), IsOk());
  EXPECT_THAT(ParseJsonBody(R"({"a":18446744073709551616})"),
              StatusIs(kInvalid, HasSubstr("64 bits")));
}

TEST(JsonBodyTest, BytesThatAreNoTextAreReplaced) {
  EXPECT_EQ(JsonText({{"a", "x\xff"}}), "{\"a\":\"x\xef\xbf\xbd\"}");
}

TEST(JsonFieldsTest, EveryProblemIsToldWithItsField) {
  const Json json = Json::parse(
      R"({"text": 1, "flag": "yes", "number": true, "count": 1.5, "small": 3000000000, "list": {},
          "fixed": true, "free": 7, "gone": null, "other": 0})");
  FieldProblems problems;
  JsonFields fields(json, "outer", problems);
  EXPECT_FALSE(fields.Text("text").has_value());
  EXPECT_FALSE(fields.Boolean("flag").has_value());
  EXPECT_FALSE(fields.Number("number").has_value());
  EXPECT_FALSE(fields.Integer("count").has_value());
  EXPECT_FALSE(fields.Int32("small").has_value());
  EXPECT_EQ(fields.List("list"), nullptr);
  EXPECT_FALSE(fields.Text("gone").has_value());
  EXPECT_FALSE(fields.Text("absent").has_value());
  fields.Only("fixed", false, "that is how it is");
  fields.Ignore({"free"});
  fields.RefuseOthers();
  const absl::Status status = problems.ToStatus();
  EXPECT_EQ(DetailsOf(status).metadata.at("fields"),
            "outer.text,outer.flag,outer.number,outer.count,outer.small,outer.list,outer.fixed,"
            "outer.other");
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("outer.text: expected a string, found an integer"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("outer.other: is not supported"));
}

TEST(JsonFieldsTest, ValuesOfTheRightTypeAreRead) {
  const Json json = Json::parse(
      R"({"text": "x", "flag": true, "number": 1, "count": -9223372036854775808, "small": -7, "list": [1, 2]})");
  FieldProblems problems;
  JsonFields fields(json, "", problems);
  EXPECT_EQ(fields.Text("text"), "x");
  EXPECT_EQ(fields.Boolean("flag"), true);
  EXPECT_EQ(fields.Number("number"), 1.0);
  EXPECT_EQ(fields.Integer("count"), INT64_MIN);
  EXPECT_EQ(fields.Int32("small"), -7);
  ASSERT_NE(fields.List("list"), nullptr);
  EXPECT_THAT(*Int32List(*fields.List("list"), "list", problems), ElementsAre(1, 2));
  fields.RefuseOthers();
  EXPECT_THAT(problems.ToStatus(), IsOk());
  EXPECT_FALSE(Int32List(Json::parse("[1, 2.5]"), "list", problems).has_value());
  EXPECT_THAT(problems.ToStatus(), StatusIs(kInvalid, HasSubstr("position 1")));
}

}  // namespace
}  // namespace shira
