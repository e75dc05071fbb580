#include "server/grpc/request_conversion.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <variant>

#include "server/generation/generate_request.h"
#include "server/logging/call_records.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Optional;
using ::testing::Pair;

using ::shira::testing::kInvalid;

RequestLimits Limits() { return {.vocab_size = 100, .max_tokens = 50}; }

v1::GenerateRequest Request(const std::string& text) {
  v1::GenerateRequest request;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &request));
  return request;
}

// The way of every request: converted, then checked.
absl::StatusOr<GenerateRequest> Parse(const v1::GenerateRequest& proto) {
  GenerateRequest request = FromProto(proto);
  if (absl::Status status = CheckAndComplete(Limits(), request); !status.ok()) return status;
  return request;
}

absl::StatusOr<GenerateRequest> Parse(const std::string& text) { return Parse(Request(text)); }

TEST(GenerateRequestTest, AbsentFieldsMeanGreedyDecodingOfTheDefaultState) {
  ASSERT_OK_AND_ASSIGN(const GenerateRequest options, Parse("prompt: 'x'"));
  EXPECT_FALSE(options.adapters.has_value());
  EXPECT_TRUE(options.sampling.greedy());
  EXPECT_EQ(options.sampling.top_p, 1.0f);
  EXPECT_EQ(options.sampling.repetition_penalty, 1.0f);
  EXPECT_FALSE(options.has_seed);
  EXPECT_EQ(options.max_tokens, 50);
  EXPECT_FALSE(options.top_logprobs.has_value());
  EXPECT_FALSE(options.ignore_eos);
  EXPECT_EQ(options.choices, 1);
  EXPECT_EQ(options.priority, 0);
  EXPECT_FALSE(options.speculate.has_value());
}

TEST(GenerateRequestTest, EveryFieldArrives) {
  ASSERT_OK_AND_ASSIGN(const GenerateRequest options, Parse(R"(
    token_ids { ids: 0 ids: 99 }
    request_id: "abc-1"
    adapter { adapters { name: "tone" weight: -0.5 } adapters { name: "terse" } }
    sampling { temperature: 0.5 top_k: 3 top_p: 0.9 min_p: 0.1 repetition_penalty: 1.5 seed: 7
               presence_penalty: 0.5 frequency_penalty: -0.25
               logit_bias { key: 9 value: 2.5 } logit_bias { key: 3 value: -100 } }
    stop { max_tokens: 10 stop_strings: "a" stop_strings: "b" stop_token_ids: 5 ignore_eos: true
           include_stop_string: true }
    logprobs: 0 n: 3 priority: -7 speculate: false)"));
  EXPECT_THAT(std::get<std::vector<int32_t>>(options.input), ElementsAre(0, 99));
  EXPECT_EQ(options.request_id, "abc-1");
  ASSERT_TRUE(options.adapters.has_value());
  ASSERT_EQ(options.adapters->size(), 2);
  EXPECT_EQ((*options.adapters)[0].name, "tone");
  EXPECT_EQ((*options.adapters)[0].weight, -0.5);
  EXPECT_EQ((*options.adapters)[1].weight, 1.0);
  EXPECT_EQ(options.sampling.temperature, 0.5f);
  EXPECT_EQ(options.sampling.top_k, 3);
  EXPECT_EQ(options.sampling.top_p, 0.9f);
  EXPECT_EQ(options.sampling.min_p, 0.1f);
  EXPECT_EQ(options.sampling.repetition_penalty, 1.5f);
  EXPECT_EQ(options.sampling.seed, 7);
  EXPECT_EQ(options.sampling.presence_penalty, 0.5f);
  EXPECT_EQ(options.sampling.frequency_penalty, -0.25f);
  EXPECT_THAT(options.sampling.logit_bias, ElementsAre(Pair(3, -100.0f), Pair(9, 2.5f)));
  EXPECT_EQ(options.choices, 3);
  EXPECT_EQ(options.priority, -7);
  EXPECT_EQ(options.speculate, false);
  EXPECT_TRUE(options.has_seed);
  EXPECT_EQ(options.max_tokens, 10);
  EXPECT_THAT(options.text.stop_strings, ElementsAre("a", "b"));
  EXPECT_TRUE(options.text.include_stop_string);
  EXPECT_THAT(options.stop_tokens, ElementsAre(5));
  EXPECT_TRUE(options.ignore_eos);
  EXPECT_THAT(options.top_logprobs, Optional(0));
}

TEST(GenerateRequestTest, ListsEveryProblemAtOnce) {
  EXPECT_THAT(
      Parse(R"(
      request_id: "two words"
      adapter { adapters { name: "a" } adapters { name: "a" } }
      sampling { temperature: -1 top_p: 2 }
      stop { max_tokens: 51 stop_strings: "" stop_token_ids: 100 }
      logprobs: 21)"),
      StatusIs(kInvalid,
               AllOf(HasSubstr("input: is missing"), HasSubstr("request_id"),
                     HasSubstr("'a' occurs twice"), HasSubstr("temperature"), HasSubstr("top_p"),
                     HasSubstr("stop.max_tokens: is 51"), HasSubstr("stop.stop_strings"),
                     HasSubstr("stop.stop_token_ids"), HasSubstr("logprobs: is 21"))));
}

TEST(GenerateRequestTest, RefusesNumbersThatAreNone) {
  v1::GenerateRequest request = Request("prompt: 'x'");
  request.mutable_sampling()->set_temperature(std::numeric_limits<float>::quiet_NaN());
  EXPECT_THAT(Parse(request), StatusIs(kInvalid, HasSubstr("sampling")));

  request = Request("prompt: 'x' adapter { adapters { name: 'a' } }");
  for (const double weight : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    request.mutable_adapter()->mutable_adapters(0)->set_weight(weight);
    EXPECT_THAT(Parse(request), StatusIs(kInvalid, HasSubstr("not finite")));
  }
}

TEST(GenerateRequestTest, AConversationArrives) {
  ASSERT_OK_AND_ASSIGN(const GenerateRequest request, Parse(R"(
    chat { messages { role: "user" content: "a" name: "ann" more_fields_json: "{\"x\": 1}" }
           messages { role: "assistant" reasoning_content: "r"
                      tool_calls { id: "1" name: "f" arguments_json: "{}" }
                      tool_calls { name: "g" } }
           messages { role: "tool" content: "" tool_call_id: "1" }
           messages { role: "user" content_parts { parts { text: "b" } parts { text: "" } } }
           omit_generation_prompt: true template_variables_json: "{}"
           tools_json: "t1" tools_json: "t2" documents_json: "d" })"));
  const auto& chat = std::get<Conversation>(request.input);
  ASSERT_EQ(chat.messages.size(), 4);
  EXPECT_EQ(chat.messages[0].role, "user");
  EXPECT_EQ(std::get<std::string>(chat.messages[0].content), "a");
  EXPECT_THAT(chat.messages[0].name, Optional(std::string("ann")));
  EXPECT_EQ(chat.messages[0].more_fields_json, "{\"x\": 1}");
  EXPECT_FALSE(chat.messages[0].reasoning_content.has_value());
  EXPECT_FALSE(chat.messages[0].tool_call_id.has_value());
  EXPECT_TRUE(std::holds_alternative<std::monostate>(chat.messages[1].content));
  EXPECT_THAT(chat.messages[1].reasoning_content, Optional(std::string("r")));
  ASSERT_EQ(chat.messages[1].tool_calls.size(), 2);
  EXPECT_EQ(chat.messages[1].tool_calls[0].id, "1");
  EXPECT_EQ(chat.messages[1].tool_calls[0].name, "f");
  EXPECT_EQ(chat.messages[1].tool_calls[0].arguments_json, "{}");
  EXPECT_EQ(chat.messages[1].tool_calls[1].name, "g");
  EXPECT_EQ(std::get<std::string>(chat.messages[2].content), "");
  EXPECT_THAT(chat.messages[2].tool_call_id, Optional(std::string("1")));
  const auto& parts = std::get<std::vector<ContentPart>>(chat.messages[3].content);
  ASSERT_EQ(parts.size(), 2);
  EXPECT_THAT(parts[0].text, Optional(std::string("b")));
  EXPECT_THAT(parts[1].text, Optional(std::string()));
  EXPECT_TRUE(chat.continue_last_message);
  EXPECT_EQ(chat.template_variables_json, "{}");
  EXPECT_THAT(chat.tools_json, ElementsAre("t1", "t2"));
  EXPECT_THAT(chat.documents_json, ElementsAre("d"));
}

TEST(GenerateRequestTest, AConversationIsChecked) {
  EXPECT_THAT(Parse("chat { messages { role: 'user' content_parts { parts { } } } }"),
              StatusIs(kInvalid, HasSubstr("chat.messages[0].content_parts.parts[0]: ")));
}

TEST(GenerateRequestTest, BoundsAreInclusive) {
  EXPECT_THAT(Parse("prompt: 'x' stop { max_tokens: 1 }"), IsOk());
  EXPECT_THAT(Parse("prompt: 'x' stop { max_tokens: 50 }"), IsOk());
  EXPECT_THAT(Parse("prompt: 'x' stop { max_tokens: 0 }"), StatusIs(kInvalid));
  EXPECT_THAT(Parse("prompt: 'x' stop { max_tokens: -1 }"), StatusIs(kInvalid));
  EXPECT_THAT(Parse("prompt: 'x' logprobs: 20"), IsOk());
  EXPECT_THAT(Parse("prompt: 'x' logprobs: -1"), StatusIs(kInvalid));
  EXPECT_THAT(Parse("token_ids { ids: 100 }"),
              StatusIs(kInvalid, HasSubstr("id 100 at position 0")));
  EXPECT_THAT(Parse("token_ids { ids: 3 ids: -1 }"),
              StatusIs(kInvalid, HasSubstr("id -1 at position 1")));
  EXPECT_THAT(Parse("token_ids { }"), StatusIs(kInvalid, HasSubstr("is empty")));
  EXPECT_THAT(Parse("chat { }"), StatusIs(kInvalid, HasSubstr("chat.messages")));
  EXPECT_THAT(Parse("prompt: 'x' n: 1 priority: -100"), IsOk());
  EXPECT_THAT(Parse("prompt: 'x' n: 16 priority: 100"), IsOk());
  EXPECT_THAT(Parse("prompt: 'x' n: 0"), StatusIs(kInvalid, HasSubstr("n: is 0")));
  EXPECT_THAT(Parse("prompt: 'x' n: 17"), StatusIs(kInvalid, HasSubstr("within [1, 16]")));
  EXPECT_THAT(Parse("prompt: 'x' priority: 101"), StatusIs(kInvalid, HasSubstr("priority")));
  EXPECT_THAT(Parse("prompt: 'x' priority: -2147483648"), StatusIs(kInvalid));
  EXPECT_THAT(Parse("prompt: 'x' sampling { logit_bias { key: 100 value: 1 } }"),
              StatusIs(kInvalid, HasSubstr("within [0, 100), found 100")));
}

TEST(GenerateRequestTest, ListsAreBounded) {
  const RequestLimits limits = Limits();
  v1::GenerateRequest request = Request("prompt: 'x'");
  for (int i = 0; i <= limits.max_stop_strings; ++i) request.mutable_stop()->add_stop_strings("s");
  EXPECT_THAT(Parse(request), StatusIs(kInvalid, HasSubstr("17 entries")));

  request = Request("prompt: 'x'");
  request.mutable_stop()->add_stop_strings(std::string(limits.max_stop_string_bytes + 1, 's'));
  EXPECT_THAT(Parse(request), StatusIs(kInvalid, HasSubstr("1025 bytes")));

  request = Request("prompt: 'x'");
  for (int i = 0; i <= limits.max_stop_tokens; ++i) request.mutable_stop()->add_stop_token_ids(1);
  EXPECT_THAT(Parse(request), StatusIs(kInvalid, HasSubstr("stop_token_ids: has 257")));

  request = Request("prompt: 'x'");
  for (int i = 0; i <= limits.max_adapters; ++i) {
    request.mutable_adapter()->add_adapters()->set_name(std::to_string(i));
  }
  EXPECT_THAT(Parse(request), StatusIs(kInvalid, HasSubstr("65 entries")));

  request = Request("prompt: 'x'");
  request.set_request_id(std::string(kMaxRequestIdBytes + 1, 'i'));
  EXPECT_THAT(Parse(request), StatusIs(kInvalid, HasSubstr("request_id")));
}

// A line break would let a client forge lines in the log.
TEST(GenerateRequestTest, RequestIdsArePrintable) {
  EXPECT_THAT(Parse("prompt: 'x' request_id: 'a\\nb'"), StatusIs(kInvalid));
  EXPECT_THAT(Parse("prompt: 'x' request_id: 'a\\303\\244'"), StatusIs(kInvalid));
}

TEST(GenerateRequestTest, AnEmptySelectionAndTheNameBaseAreTheBase) {
  ASSERT_OK_AND_ASSIGN(GenerateRequest options, Parse("prompt: 'x' adapter { }"));
  EXPECT_THAT(options.adapters, Optional(IsEmpty()));
  ASSERT_OK_AND_ASSIGN(options, Parse("prompt: 'x' adapter { adapters { name: 'base' } }"));
  EXPECT_THAT(options.adapters, Optional(IsEmpty()));
}

TEST(GenerateRequestTest, TheBaseMixesWithNothing) {
  EXPECT_THAT(Parse("prompt: 'x' adapter { adapters { name: 'base' } adapters { name: 'a' } }"),
              StatusIs(kInvalid, HasSubstr("'base'")));
  EXPECT_THAT(Parse("prompt: 'x' adapter { adapters { name: 'base' weight: 0.5 } }"),
              StatusIs(kInvalid, HasSubstr("'base'")));
  EXPECT_THAT(Parse("prompt: 'x' adapter { adapters { } }"),
              StatusIs(kInvalid, HasSubstr("no name")));
}

}  // namespace
}  // namespace shira
