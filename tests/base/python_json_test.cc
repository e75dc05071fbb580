#include "base/python_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shira {
namespace {

using nlohmann::json;

TEST(PythonJsonTest, TakesPythonsConstantsWhereverAValueMayStand) {
  EXPECT_EQ(ParsePythonJson(R"({"a": NaN, "b": [Infinity, -Infinity], "c": 1})"),
            (json{{"a", "NaN"}, {"b", {"Infinity", "-Infinity"}}, {"c", 1}}));
}

TEST(PythonJsonTest, LeavesTextsAlone) {
  EXPECT_EQ(ParsePythonJson(R"({"NaN": "a \" Infinity \\", "b": NaN})"),
            (json{{"NaN", "a \" Infinity \\"}, {"b", "NaN"}}));
}

TEST(PythonJsonTest, WhatIsNoJsonStaysSo) {
  for (const char* text : {"", "{", "[nan]", "[NaNa]", "[1 Infinity]", "[\"NaN]"}) {
    EXPECT_TRUE(ParsePythonJson(text).is_discarded()) << text;
  }
}

}  // namespace
}  // namespace shira
