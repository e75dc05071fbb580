#include "client/cli/chat_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/testutil/status_matchers.h"

namespace shira::cli {
namespace {

using ::shira::testing::StatusIs;
using ::testing::HasSubstr;

using ::shira::testing::kInvalid;

v1::ChatMessage Message(const std::string& json) {
  return MessageFromJson(ParseJson(json).value()).value();
}

TEST(ChatJsonTest, EveryFieldHasItsPlace) {
  const v1::ChatMessage message = Message(
      R"({"role": "tool", "content": "c", "reasoning_content": "", "tool_call_id": "1",
          "name": "n", "tool_calls": [
          {"id": "2", "type": "function", "function": {"name": "f", "arguments": {"b": 1.0, "a": 1}}},
          {"function": {"name": "g", "arguments": "{\"x\": 1e2}"}}]})");
  EXPECT_EQ(message.role(), "tool");
  EXPECT_EQ(message.content(), "c");
  EXPECT_TRUE(message.has_reasoning_content());
  EXPECT_EQ(message.tool_call_id(), "1");
  EXPECT_EQ(message.name(), "n");
  ASSERT_EQ(message.tool_calls_size(), 2);
  EXPECT_EQ(message.tool_calls(0).id(), "2");
  EXPECT_EQ(message.tool_calls(0).name(), "f");
  EXPECT_EQ(message.tool_calls(0).arguments_json(), R"({"b":1.0,"a":1})");
  EXPECT_EQ(message.tool_calls(1).id(), "");
  EXPECT_EQ(message.tool_calls(1).arguments_json(), R"({"x": 1e2})");
  EXPECT_EQ(message.more_fields_json(), "");
}

TEST(ChatJsonTest, ContentIsATextOrTexts) {
  const v1::ChatMessage message = Message(
      R"({"role": "user", "content": [{"type": "text", "text": "a"}, {"text": "b", "type": "text"}]})");
  ASSERT_EQ(message.content_parts().parts_size(), 2);
  EXPECT_EQ(message.content_parts().parts(1).text(), "b");
  EXPECT_TRUE(Message(R"({"role": "user", "content": []})").has_content_parts());
  EXPECT_TRUE(Message(R"({"role": "user", "content": ""})").has_content());
  EXPECT_EQ(Message(R"({"role": "user"})").body_case(), v1::ChatMessage::BODY_NOT_SET);
}

// So that nothing is lost: the template sees it as it would from transformers.
TEST(ChatJsonTest, WhatHasNoPlaceIsKeptAsItIs) {
  for (const char* field : {R"("content":[{"type":"image"}])", R"("content":7)",
                            R"("content":[{"type":"text","text":"a","x":1}])", R"("content":["a"])",
                            R"("reasoning_content":[null])", R"("tool_call_id":1)", R"("name":{})",
                            R"("tool_calls":[])", R"("tool_calls":[{"name":"f","arguments":{}}])",
                            R"("tool_calls":[{"id":"","function":{"name":"f","arguments":{}}}])",
                            R"("tool_calls":[{"type":"x","function":{"name":"f","arguments":{}}}])",
                            R"("tool_calls":[{"function":{"name":"f","arguments":[]}}])",
                            R"("tool_calls":[{"function":{"name":"f"}}])",
                            R"("tool_calls":[{"function":{"name":"f","arguments":{},"x":1}}])",
                            R"("thinking":"t","n":1.0)"}) {
    const v1::ChatMessage message =
        Message("{\"role\": \"assistant\", " + std::string(field) + "}");
    EXPECT_EQ(message.more_fields_json(), "{" + std::string(field) + "}");
    EXPECT_EQ(message.body_case(), v1::ChatMessage::BODY_NOT_SET);
    EXPECT_EQ(message.tool_calls_size(), 0);
  }
}

TEST(ChatJsonTest, NullIsNothing) {
  const v1::ChatMessage message =
      Message(R"({"role": "user", "content": null, "tool_calls": null, "name": null, "x": null})");
  EXPECT_EQ(ToJson(message).dump(), R"({"role":"user"})");
}

TEST(ChatJsonTest, IsWrittenAsItIsRead) {
  for (
      const char* text :
      {R"({"role":"user","content":"x"})", R"({"role":"user"})", R"({"role":"user","content":[]})",
       R"({"role":"user","content":[{"type":"text","text":"a"}]})",
       R"({"role":"assistant","content":"x","reasoning_content":"r","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":{"b":1.0,"a":[null]}}},{"type":"function","function":{"name":"g","arguments":{}}}],"tool_call_id":"2","name":"n","thinking":[null]})"}) {
    EXPECT_EQ(ToJson(Message(text)).dump(), text);
  }
  v1::ChatMessage message;
  message.set_role("assistant");
  message.add_tool_calls()->set_arguments_json("no JSON");
  EXPECT_EQ(ToJson(message)["tool_calls"][0]["function"]["arguments"], "no JSON");
}

TEST(ChatJsonTest, RefusesWhatWouldChange) {
  for (const char* text : {"", "{", "[1] 2", "\"\xff\"", "\"\\ud800\""}) {
    EXPECT_THAT(ParseJson(text), StatusIs(kInvalid, HasSubstr("malformed JSON at byte"))) << text;
  }
  EXPECT_THAT(ParseJson("[1, -99999999999999999999]"), StatusIs(kInvalid, HasSubstr("64 bits")));
  EXPECT_THAT(ParseJson(std::string(65, '[') + std::string(65, ']')),
              StatusIs(kInvalid, HasSubstr("64 levels")));
  EXPECT_TRUE(ParseJson(std::string(64, '[') + std::string(64, ']')).ok());
  for (const char* text : {"1", "[]", "{}", R"({"role": 1})"}) {
    EXPECT_THAT(MessageFromJson(ParseJson(text).value()), StatusIs(kInvalid, HasSubstr("role")));
  }
}

}  // namespace
}  // namespace shira::cli
