#include "server/http/generation_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <variant>
#include <vector>

#include "base/strings.h"
#include "server/generation/error_details.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Optional;
using ::testing::Pair;
using ::testing::SizeIs;

using ::shira::testing::kInvalid;
constexpr std::string_view kBase = "org/llama";
constexpr std::string_view kHello = R"("messages": [{"role": "user", "content": "Hello"}])";

// `fields`: members of an object.
absl::StatusOr<HttpGeneration> Chat(std::string_view fields) {
  return ParseChatRequest(Json::parse(StrCat("{", fields, "}")), kBase);
}
absl::StatusOr<HttpGeneration> ChatWith(std::string_view fields) {
  return Chat(StrCat(kHello, ", ", fields));
}
absl::StatusOr<HttpGeneration> Completion(std::string_view fields) {
  return ParseCompletionRequest(Json::parse(StrCat("{", fields, "}")), kBase);
}
absl::StatusOr<HttpGeneration> CompletionWith(std::string_view fields) {
  return Completion(StrCat(R"("prompt": "x", )", fields));
}

std::string FieldsOf(const absl::Status& status) {
  const ErrorMetadata metadata = DetailsOf(status).metadata;
  const auto fields = metadata.find("fields");
  return fields == metadata.end() ? "" : fields->second;
}

const Conversation& ChatOf(const HttpGeneration& generation) {
  return std::get<Conversation>(generation.prompts.front());
}

TEST(ChatRequestTest, AbsentFieldsMeanWhatOpenAiSays) {
  ASSERT_OK_AND_ASSIGN(const HttpGeneration chat, Chat(kHello));
  EXPECT_EQ(chat.model, kBase);
  EXPECT_FALSE(chat.request.adapters.has_value());
  EXPECT_EQ(chat.request.sampling.temperature, 1.0f);
  EXPECT_EQ(chat.request.sampling.top_p, 1.0f);
  EXPECT_EQ(chat.request.sampling.top_k, 0);
  EXPECT_FALSE(chat.request.has_seed);
  EXPECT_FALSE(chat.request.max_tokens.has_value());
  EXPECT_FALSE(chat.request.top_logprobs.has_value());
  EXPECT_EQ(chat.request.choices, 1);
  EXPECT_FALSE(chat.stream);
  ASSERT_THAT(ChatOf(chat).messages, SizeIs(1));
  EXPECT_EQ(ChatOf(chat).messages.front().role, "user");
  EXPECT_EQ(std::get<std::string>(ChatOf(chat).messages.front().content), "Hello");
}

TEST(ChatRequestTest, NullIsAsGoodAsAbsent) {
  EXPECT_THAT(ChatWith(R"("temperature": null, "stop": null, "tools": null, "stream_options": null,
                          "response_format": null, "logit_bias": null, "unknown": null)"),
              IsOk());
}

TEST(ChatRequestTest, EveryOptionReachesTheNativeRequest) {
  ASSERT_OK_AND_ASSIGN(
      const HttpGeneration chat,
      ChatWith(R"("model": "a:0.5+b", "temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.05,
                  "repetition_penalty": 1.1, "presence_penalty": 0.2, "frequency_penalty": -0.3,
                  "logit_bias": {"7": 1.5, "9": -100}, "seed": -1, "max_completion_tokens": 12,
                  "stop": ["x", "y"], "stop_token_ids": [3, 4], "include_stop_str_in_output": true,
                  "skip_special_tokens": false, "ignore_eos": true, "n": 2, "logprobs": true,
                  "top_logprobs": 5, "priority": -3, "request_id": "r-1", "speculate": false,
                  "stream": true, "stream_options": {"include_usage": true}, "user": "somebody")"));
  const GenerateRequest& request = chat.request;
  EXPECT_EQ(chat.model, "a:0.5+b");
  EXPECT_THAT(request.adapters, Optional(ElementsAre(AdapterSelectionTerm{"a", 0.5},
                                                     AdapterSelectionTerm{"b", 1.0})));
  EXPECT_EQ(request.sampling.temperature, 0.5f);
  EXPECT_EQ(request.sampling.top_p, 0.9f);
  EXPECT_EQ(request.sampling.top_k, 40);
  EXPECT_EQ(request.sampling.min_p, 0.05f);
  EXPECT_EQ(request.sampling.repetition_penalty, 1.1f);
  EXPECT_EQ(request.sampling.presence_penalty, 0.2f);
  EXPECT_EQ(request.sampling.frequency_penalty, -0.3f);
  EXPECT_THAT(request.sampling.logit_bias, ElementsAre(Pair(7, 1.5f), Pair(9, -100.0f)));
  EXPECT_TRUE(request.has_seed);
  EXPECT_EQ(request.sampling.seed, UINT64_MAX);
  EXPECT_EQ(request.max_tokens, 12);
  EXPECT_THAT(request.text.stop_strings, ElementsAre("x", "y"));
  EXPECT_TRUE(request.text.include_stop_string);
  EXPECT_FALSE(request.text.skip_special_tokens);
  EXPECT_THAT(request.stop_tokens, ElementsAre(3, 4));
  EXPECT_TRUE(request.ignore_eos);
  EXPECT_EQ(request.choices, 2);
  EXPECT_EQ(request.top_logprobs, 5);
  EXPECT_EQ(request.priority, 3);  // vLLM's lower numbers go first
  EXPECT_EQ(request.request_id, "r-1");
  EXPECT_EQ(request.speculate, false);
  EXPECT_TRUE(chat.stream);
  EXPECT_TRUE(chat.include_usage);
}

TEST(ChatRequestTest, SomeOptionsHaveTwoForms) {
  ASSERT_OK_AND_ASSIGN(const HttpGeneration text, ChatWith(R"("stop": "x", "max_tokens": 5)"));
  EXPECT_THAT(text.request.text.stop_strings, ElementsAre("x"));
  EXPECT_EQ(text.request.max_tokens, 5);
  EXPECT_THAT(ChatWith(R"("max_tokens": 5, "max_completion_tokens": 5)"), IsOk());
  EXPECT_THAT(ChatWith(R"("max_tokens": 5, "max_completion_tokens": 6)"), StatusIs(kInvalid));
  ASSERT_OK_AND_ASSIGN(const HttpGeneration all, ChatWith(R"("top_k": -1)"));
  EXPECT_EQ(all.request.sampling.top_k, 0);
  ASSERT_OK_AND_ASSIGN(const HttpGeneration again, ChatWith(R"("seed": 18446744073709551615)"));
  EXPECT_EQ(again.request.sampling.seed, UINT64_MAX);  // as an answer to -1 tells it
  ASSERT_OK_AND_ASSIGN(const HttpGeneration base, ChatWith(R"("model": "org/llama")"));
  EXPECT_THAT(base.request.adapters, Optional(IsEmpty()));
  ASSERT_OK_AND_ASSIGN(const HttpGeneration chosen, ChatWith(R"("logprobs": true)"));
  EXPECT_EQ(chosen.request.top_logprobs, 0);
}

TEST(ChatRequestTest, WhatIsNotSupportedIsRefusedByItsName) {
  const struct {
    const char* fields;
    const char* refused;
  } cases[] = {
      {R"("temprature": 1)", "temprature"},
      {R"("response_format": {"type": "json_object"})", "response_format"},
      {R"("guided_json": {})", "guided_json"},
      {R"("functions": [])", "functions"},
      {R"("tool_choice": "required")", "tool_choice"},
      {R"("tool_choice": {"type": "function", "function": {"name": "f"}})", "tool_choice"},
      {R"("audio": {})", "audio"},
      {R"("modalities": ["audio"])", "modalities"},
      {R"("store": true)", "store"},
      {R"("use_beam_search": true)", "use_beam_search"},
      {R"("min_tokens": 3)", "min_tokens"},
      {R"("prompt_logprobs": 1)", "prompt_logprobs"},
      {R"("chat_template": "x")", "chat_template"},
      {R"("top_logprobs": 2)", "top_logprobs"},
      {R"("temperature": "hot")", "temperature"},
      {R"("n": 1.5)", "n"},
      {R"("seed": 1.5)", "seed"},
      {R"("stop": [1])", "stop"},
      {R"("logit_bias": {"x": 1})", "logit_bias"},
      {R"("logit_bias": [1])", "logit_bias"},
      {R"("stream_options": {"include_usage": true})", "stream_options"},
      {R"("stream": true, "stream_options": {"x": 1})", "stream_options.x"},
      {R"("priority": -2147483648)", "priority"},
      {R"("chat_template_kwargs": [])", "chat_template_kwargs"},
      {R"("add_generation_prompt": false)", "add_generation_prompt"},
      {R"("add_generation_prompt": true, "continue_final_message": true)", "add_generation_prompt"},
  };
  for (const auto& [fields, refused] : cases) {
    const absl::Status status = ChatWith(fields).status();
    EXPECT_THAT(status, StatusIs(kInvalid)) << fields;
    EXPECT_EQ(FieldsOf(status), refused) << fields;
  }
  // With the value that says what is done anyway.
  EXPECT_THAT(
      ChatWith(R"("response_format": {"type": "text"}, "tool_choice": "auto", "store": false,
                          "modalities": ["text"], "parallel_tool_calls": true, "min_tokens": 0,
                          "service_tier": "auto", "use_beam_search": false)"),
      IsOk());
}

TEST(ChatRequestTest, MessagesKeepAllThatTemplatesSee) {
  ASSERT_OK_AND_ASSIGN(const HttpGeneration chat, Chat(R"(
      "messages": [
        {"role": "system", "content": [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]},
        {"role": "assistant", "content": null, "refusal": null, "tool_calls": [
          {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"z\": 1, \"a\": 2}"}},
          {"id": "c2", "type": "function", "function": {"name": "g", "arguments": {"z": 1, "a": 2}}}]},
        {"role": "tool", "content": "21", "tool_call_id": "c1", "name": "f"},
        {"role": "assistant", "content": "Fine.", "reasoning_content": "Let me see."}],
      "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
      "documents": [{"title": "One"}],
      "chat_template_kwargs": {"enable_thinking": false}, "reasoning_effort": "low",
      "continue_final_message": true, "add_generation_prompt": false)"));
  const Conversation& conversation = ChatOf(chat);
  ASSERT_THAT(conversation.messages, SizeIs(4));
  const auto& parts = std::get<std::vector<ContentPart>>(conversation.messages[0].content);
  ASSERT_THAT(parts, SizeIs(2));
  EXPECT_EQ(parts[1].text, "Two.");
  const ChatMessage& calls = conversation.messages[1];
  EXPECT_TRUE(std::holds_alternative<std::monostate>(calls.content));
  ASSERT_THAT(calls.tool_calls, SizeIs(2));
  EXPECT_EQ(calls.tool_calls[0].id, "c1");
  EXPECT_EQ(calls.tool_calls[0].name, "f");
  EXPECT_EQ(calls.tool_calls[0].arguments_json, R"({"z": 1, "a": 2})");
  EXPECT_EQ(calls.tool_calls[1].arguments_json, R"({"z":1,"a":2})");
  EXPECT_EQ(conversation.messages[2].tool_call_id, "c1");
  EXPECT_EQ(conversation.messages[2].name, "f");
  EXPECT_EQ(conversation.messages[3].reasoning_content, "Let me see.");
  EXPECT_THAT(conversation.tools_json,
              ElementsAre(R"({"type":"function","function":{"name":"f","parameters":{}}})"));
  EXPECT_THAT(conversation.documents_json, ElementsAre(R"({"title":"One"})"));
  EXPECT_EQ(conversation.template_variables_json,
            R"({"enable_thinking":false,"reasoning_effort":"low"})");
  EXPECT_TRUE(conversation.continue_last_message);
}

TEST(ChatRequestTest, WithToolChoiceNoneTheTemplateSeesNoTools) {
  ASSERT_OK_AND_ASSIGN(const HttpGeneration chat,
                       ChatWith(R"("tools": [{"type": "function"}], "tool_choice": "none")"));
  EXPECT_THAT(ChatOf(chat).tools_json, IsEmpty());
}

TEST(ChatRequestTest, AMessageAtFaultIsNamed) {
  const struct {
    const char* messages;
    const char* field;
  } cases[] = {
      {R"("messages": "hi")", "messages"},
      {R"("messages": ["hi"])", "messages[0]"},
      {R"("messages": [{"content": "x"}])", "messages[0].role"},
      {R"("messages": [{"role": "user", "content": 7}])", "messages[0].content"},
      {R"("messages": [{"role": "user", "content": [{"text": "x"}]}])",
       "messages[0].content[0].type"},
      {R"("messages": [{"role": "user", "content": [{"type": "text"}]}])",
       "messages[0].content[0].text"},
      {R"("messages": [{"role": "user", "contents": "x"}])", "messages[0].contents"},
      {R"("messages": [{"role": "assistant", "tool_calls": [{"id": "c"}]}])",
       "messages[0].tool_calls[0].function"},
      {R"("messages": [{"role": "assistant", "tool_calls": [{"type": "custom", "function": {"name": "f"}}]}])",
       "messages[0].tool_calls[0].type"},
  };
  for (const auto& [messages, field] : cases) {
    EXPECT_THAT(FieldsOf(Chat(messages).status()), ::testing::StartsWith(field)) << messages;
  }
  EXPECT_THAT(Chat("").status(), StatusIs(kInvalid, HasSubstr("messages: ")));
}

TEST(ChatRequestTest, TooManyMessagesAreNotLookedAtOneByOne) {
  Json body = {{"messages", Json::array()}};
  for (int i = 0; i < 10'001; ++i) body["messages"].push_back(Json::object());
  EXPECT_EQ(ParseChatRequest(body, kBase).status().message(),
            "messages: has 10001 entries, at most 10000");
}

TEST(ChatRequestTest, APartOfAnotherKindIsLeftToTheCheckOfAllRequests) {
  ASSERT_OK_AND_ASSIGN(
      const HttpGeneration chat,
      Chat(
          R"("messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}])"));
  const auto& parts = std::get<std::vector<ContentPart>>(ChatOf(chat).messages[0].content);
  EXPECT_FALSE(parts.front().text.has_value());
}

TEST(CompletionRequestTest, PromptsAreTextsOrTokenIdsOrListsOfThem) {
  ASSERT_OK_AND_ASSIGN(const HttpGeneration text, Completion(R"("prompt": "x")"));
  ASSERT_THAT(text.prompts, SizeIs(1));
  EXPECT_EQ(std::get<std::string>(text.prompts[0]), "x");
  EXPECT_EQ(text.request.max_tokens, 16);
  ASSERT_OK_AND_ASSIGN(const HttpGeneration texts, Completion(R"("prompt": ["x", "y"])"));
  EXPECT_THAT(texts.prompts, SizeIs(2));
  EXPECT_EQ(std::get<std::string>(texts.prompts[1]), "y");
  ASSERT_OK_AND_ASSIGN(const HttpGeneration ids, Completion(R"("prompt": [5, 6])"));
  ASSERT_THAT(ids.prompts, SizeIs(1));
  EXPECT_THAT(std::get<std::vector<int32_t>>(ids.prompts[0]), ElementsAre(5, 6));
  ASSERT_OK_AND_ASSIGN(const HttpGeneration lists, Completion(R"("prompt": [[5], "x", [6, 7]])"));
  ASSERT_THAT(lists.prompts, SizeIs(3));
  EXPECT_THAT(std::get<std::vector<int32_t>>(lists.prompts[2]), ElementsAre(6, 7));
  for (const char* prompt :
       {R"("n": 1)", R"("prompt": 7)", R"("prompt": [])", R"("prompt": [1, "x"])",
        R"("prompt": ["x", 1])", R"("prompt": [[1.5]])", R"("prompt": [{}])"}) {
    EXPECT_THAT(Completion(prompt), StatusIs(kInvalid, HasSubstr("prompt"))) << prompt;
  }
}

TEST(CompletionRequestTest, AListOfPromptsIsBounded) {
  std::string prompts = "[5]";
  for (int i = 1; i < 1024; ++i) prompts += ", [5]";
  ASSERT_OK_AND_ASSIGN(const HttpGeneration most,
                       Completion(StrCat("\"prompt\": [", prompts, "]")));
  EXPECT_THAT(most.prompts, SizeIs(1024));
  EXPECT_THAT(Completion(StrCat("\"prompt\": [", prompts, ", [5]]")),
              StatusIs(kInvalid, HasSubstr("more than 1024")));
}

TEST(CompletionRequestTest, OptionsOfItsOwn) {
  ASSERT_OK_AND_ASSIGN(const HttpGeneration plain,
                       CompletionWith(R"("logprobs": 3, "max_tokens": 4, "n": 2, "best_of": 2)"));
  EXPECT_EQ(plain.request.top_logprobs, 3);
  EXPECT_EQ(plain.request.max_tokens, 4);
  ASSERT_OK_AND_ASSIGN(const HttpGeneration echo, CompletionWith(R"("echo": true)"));
  EXPECT_TRUE(echo.echo);
  for (const auto& [fields, refused] : std::vector<std::pair<const char*, const char*>>{
           {R"("echo": true, "logprobs": 1)", "logprobs"},
           {R"("best_of": 3)", "best_of"},
           {R"("suffix": "end")", "suffix"},
           {R"("messages": [])", "messages"},
           {R"("max_completion_tokens": 4)", "max_completion_tokens"}}) {
    EXPECT_EQ(FieldsOf(CompletionWith(fields).status()), refused) << fields;
  }
}

}  // namespace
}  // namespace shira
