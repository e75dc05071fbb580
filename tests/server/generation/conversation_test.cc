#include "server/generation/conversation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <variant>
#include <vector>

#include "base/strings.h"
#include "server/jinja/json.h"
#include "server/jinja/limits.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::IsOkAndHolds;
using ::shira::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

using ::shira::testing::kInvalid;

std::string Dump(const jinja::Value& value) {
  jinja::Budget budget;
  return jinja::DumpJson(value, jinja::JsonStyle(), budget).value();
}

absl::StatusOr<std::string> MessageSeen(const ChatMessage& message) {
  SHIRA_ASSIGN_OR_RETURN(const ChatTemplateInput seen, SeenByTemplate({.messages = {message}}));
  return Dump(seen.messages.front());
}

absl::Status Check(const Conversation& chat, const ConversationLimits& limits = {}) {
  FieldProblems problems;
  CheckConversation(limits, chat, problems);
  return problems.ToStatus();
}

TEST(ConversationTest, ATemplateSeesTheFieldsThatAreSetInTheirOrder) {
  EXPECT_THAT(MessageSeen({.role = "user", .content = "Hi"}),
              IsOkAndHolds(R"({"role": "user", "content": "Hi"})"));
  EXPECT_THAT(MessageSeen({.role = "assistant"}), IsOkAndHolds(R"({"role": "assistant"})"));
  EXPECT_THAT(MessageSeen({.role = "user", .content = ""}),
              IsOkAndHolds(R"({"role": "user", "content": ""})"));
  EXPECT_THAT(
      MessageSeen({.role = "tool",
                   .content = "3",
                   .reasoning_content = "",
                   .tool_calls = {{"call1", "add", R"({"b": 1.0, "a": [2, null]})"}, {"", "f", ""}},
                   .tool_call_id = "call0",
                   .name = "g",
                   .more_fields_json = R"({"thinking": "t", "n": 1})"}),
      IsOkAndHolds(R"({"role": "tool", "content": "3", "reasoning_content": "", "tool_calls": [)"
                   R"({"id": "call1", "type": "function", "function": )"
                   R"({"name": "add", "arguments": {"b": 1.0, "a": [2, null]}}}, )"
                   R"({"type": "function", "function": {"name": "f", "arguments": {}}}], )"
                   R"("tool_call_id": "call0", "name": "g", "thinking": "t", "n": 1})"));
}

TEST(ConversationTest, ContentPartsAreAList) {
  ChatMessage message{.role = "user", .content = std::vector<ContentPart>{{"a"}, {""}}};
  EXPECT_THAT(MessageSeen(message),
              IsOkAndHolds(R"({"role": "user", "content": [{"type": "text", "text": "a"}, )"
                           R"({"type": "text", "text": ""}]})"));
  message.content = std::vector<ContentPart>();
  EXPECT_THAT(MessageSeen(message), IsOkAndHolds(R"({"role": "user", "content": []})"));
}

TEST(ConversationTest, OtherFieldsTakeThePlaceOfThoseThatAreNotSet) {
  EXPECT_THAT(MessageSeen({.role = "assistant",
                           .more_fields_json = R"({"content": [1], "tool_calls": [], "x": null})"}),
              IsOkAndHolds(R"({"role": "assistant", "content": [1], "tool_calls": []})"));
  for (const char* more : {R"({"role": "user"})", R"({"content": []})"}) {
    EXPECT_THAT(MessageSeen({.role = "user", .content = "x", .more_fields_json = more}),
                StatusIs(kInvalid, AllOf(StartsWith("chat.messages[0].more_fields_json: '"),
                                         HasSubstr("a field of its own"))));
  }
}

TEST(ConversationTest, ToolsAndDocumentsAreListsOrNone) {
  ASSERT_OK_AND_ASSIGN(ChatTemplateInput seen, SeenByTemplate({.messages = {{"user", "x"}}}));
  EXPECT_TRUE(seen.tools.is_none());
  EXPECT_TRUE(seen.documents.is_none());
  EXPECT_EQ(seen.variables.size(), 0);
  ASSERT_OK_AND_ASSIGN(seen, SeenByTemplate({.messages = {{"user", "x"}},
                                             .tools_json = {R"({"b": 1, "a": 2})", "{}"},
                                             .documents_json = {R"({"text": "t"})"},
                                             .template_variables_json = R"({"k": false})"}));
  EXPECT_EQ(Dump(seen.tools), R"([{"b": 1, "a": 2}, {}])");
  EXPECT_EQ(Dump(seen.documents), R"([{"text": "t"}])");
  EXPECT_EQ(seen.variables.Find("k")->boolean(), false);
}

TEST(ConversationTest, ErrorsNameTheField) {
  const auto refused = [](const Conversation& chat, const std::string& message) {
    EXPECT_THAT(SeenByTemplate(chat), StatusIs(kInvalid, StartsWith("chat." + message)));
  };
  const ChatMessage hello = {"user", "Hi"};
  for (const char* json : {"[]", "1", "\"x\""}) {
    refused({.messages = {hello}, .tools_json = {"{}", json}},
            "tools_json[1]: expected a JSON object, found");
    refused({.messages = {hello}, .documents_json = {json}}, "documents_json[0]: expected");
    refused({.messages = {hello}, .template_variables_json = json},
            "template_variables_json: expected");
    refused({.messages = {hello, {.role = "x", .more_fields_json = json}}},
            "messages[1].more_fields_json: expected");
    refused({.messages = {hello, {.role = "x", .tool_calls = {{"", "f", "{}"}, {"", "f", json}}}}},
            "messages[1].tool_calls[1].arguments_json: expected");
  }
  refused({.messages = {hello}, .tools_json = {"{"}}, "tools_json[0]: malformed JSON at byte");
  refused({.messages = {{"\xff", ""}}}, "messages[0].role: is not valid UTF-8");
  refused({.messages = {{"", "\xff"}}}, "messages[0].content: is not");
  refused({.messages = {{"", std::vector<ContentPart>{{""}, {"\xff"}}}}},
          "messages[0].content_parts.parts[1]: is not");
  refused({.messages = {{.role = "", .reasoning_content = "\xff"}}},
          "messages[0].reasoning_content: is not");
  refused({.messages = {{.role = "", .tool_calls = {{"\xff", "f", ""}}}}},
          "messages[0].tool_calls[0].id: is not");
  refused({.messages = {{.role = "", .tool_calls = {{"", "\xff", ""}}}}},
          "messages[0].tool_calls[0].name: is not");
  for (const char* name : {"messages", "tools", "documents", "add_generation_prompt"}) {
    refused({.messages = {hello}, .template_variables_json = StrCat("{\"", name, "\": null}")},
            StrCat("template_variables_json: '", name, "' has a field of its own"));
  }
}

TEST(ConversationTest, TheAllowanceOfJsonIsOneForTheWholeConversation) {
  Conversation chat{.messages = {{"user", "x"}}, .template_variables_json = "{\"last\": 1}"};
  std::string document = "{\"a\": [";
  for (int64_t i = 0; i < jinja::kMaxJsonValues / 2; ++i) document += "1,";
  document += "1]}";
  chat.documents_json = {document};
  EXPECT_THAT(SeenByTemplate(chat), IsOk());
  chat.documents_json = {document, document};
  EXPECT_THAT(SeenByTemplate(chat), StatusIs(kInvalid, AllOf(StartsWith("chat.documents_json[1]: "),
                                                             HasSubstr("values in one request"))));
}

TEST(ConversationTest, CountsAreBounded) {
  const ConversationLimits limits = {.max_messages = 2,
                                     .max_content_parts = 2,
                                     .max_tool_calls = 2,
                                     .max_tools = 2,
                                     .max_documents = 2};
  const ChatMessage full = {.role = "assistant",
                            .content = std::vector<ContentPart>{{"a"}, {"b"}},
                            .tool_calls = {{"", "f", ""}, {"", "g", ""}}};
  Conversation chat{
      .messages = {full, full}, .tools_json = {"{}", "{}"}, .documents_json = {"{}", "{}"}};
  EXPECT_THAT(Check(chat, limits), IsOk());
  chat.tools_json.push_back("{}");
  chat.documents_json.push_back("{}");
  chat.messages[1].tool_calls.push_back({"", "h", ""});
  std::get<std::vector<ContentPart>>(chat.messages[1].content).push_back({"c"});
  chat.messages.push_back(full);
  EXPECT_THAT(
      Check(chat, limits),
      StatusIs(kInvalid, AllOf(HasSubstr("chat.tools_json: has 3 entries, more than 2"),
                               HasSubstr("chat.documents_json: has 3 entries"),
                               HasSubstr("chat.messages: has 3 entries"),
                               HasSubstr("chat.messages[1].tool_calls: has 3 entries"),
                               HasSubstr("chat.messages[1].content_parts.parts: has 3 entries"))));
  EXPECT_THAT(Check({}), StatusIs(kInvalid, HasSubstr("chat.messages: is empty")));
}

TEST(ConversationTest, APartOfAnUnknownKindIsRefused) {
  const Conversation chat{.messages = {{"user", std::vector<ContentPart>{{"a"}, ContentPart()}}}};
  EXPECT_THAT(Check(chat), StatusIs(kInvalid, HasSubstr("chat.messages[0].content_parts.parts[1]: "
                                                        "is of no kind that is known")));
}

TEST(ConversationTest, EveryTextCountsAsText) {
  const Conversation chat{
      .messages = {{.role = "1",
                    .content = "22",
                    .reasoning_content = "333",
                    .tool_calls = {{"4444", "55555", "666666"}},
                    .tool_call_id = "7777777",
                    .name = "88888888",
                    .more_fields_json = "999999999"},
                   {.role = "", .content = std::vector<ContentPart>{{"1"}, {"22"}}}},
      .tools_json = {"1", "22"},
      .documents_json = {"333"},
      .template_variables_json = "4444"};
  EXPECT_EQ(TextBytes(chat), 45 + 3 + 10);
}

}  // namespace
}  // namespace shira
