#include "server/service/prompt_builder.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/server/service/byte_tokenizer.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::ByteTokenizer;
using ::shira::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::string_view kTemplate =
    "{{ bos_token }}{% for m in messages %}{{ m.role }}:{{ m.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}>{% endif %}{{ mood }}";

class PromptBuilderTest : public ::testing::Test {
 protected:
  PromptBuilderTest() : template_(ChatTemplate::Parse(kTemplate).value()) {}

  absl::StatusOr<PromptBuilder::Prompt> Generate(const std::string& text) const {
    v1::GenerateRequest request;
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &request));
    return PromptBuilder(tokenizer_, &template_).Build(request);
  }
  absl::StatusOr<PromptBuilder::Prompt> Tokenize(const std::string& text) const {
    v1::TokenizeRequest request;
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &request));
    return PromptBuilder(tokenizer_, &template_).Build(request);
  }

  ByteTokenizer tokenizer_;
  ChatTemplate template_;
};

TEST_F(PromptBuilderTest, APromptGetsItsSpecialTokens) {
  ASSERT_OK_AND_ASSIGN(const auto prompt, Generate("prompt: 'ab<eos>'"));
  EXPECT_THAT(prompt.ids, ElementsAre(ByteTokenizer::kBos, 'a', 'b', ByteTokenizer::kEos));
}

TEST_F(PromptBuilderTest, AConversationHasWhatTheTemplateWroteAndNoMore) {
  ASSERT_OK_AND_ASSIGN(const auto prompt, Generate("chat { messages { role: 'u' content: 'a' } }"));
  EXPECT_EQ(prompt.text, "<bos>u:a<eos>>");
  // The byte tokenizer does not parse <bos>; a second one in front would be the tokenizer's.
  EXPECT_EQ(prompt.ids.front(), '<');
  EXPECT_THAT(std::vector<int32_t>(prompt.ids.end() - 5, prompt.ids.end()),
              ElementsAre('u', ':', 'a', ByteTokenizer::kEos, '>'));
}

TEST_F(PromptBuilderTest, TemplateVariablesArrive) {
  ASSERT_OK_AND_ASSIGN(const auto prompt, Generate(R"(
      chat { messages { role: 'u' content: 'a' } template_variables_json: '{"mood": "glad"}' })"));
  EXPECT_EQ(prompt.text, "<bos>u:a<eos>>glad");
}

TEST_F(PromptBuilderTest, WithoutAGenerationPromptTheLastTurnStaysOpen) {
  ASSERT_OK_AND_ASSIGN(const auto prompt, Generate(R"(
      chat { messages { role: 'u' content: 'a' } messages { role: 'v' content: 'b ' }
             omit_generation_prompt: true })"));
  EXPECT_EQ(prompt.text, "<bos>u:a<eos>v:b ");
}

TEST_F(PromptBuilderTest, TokenIdsAreTakenAsTheyAre) {
  ASSERT_OK_AND_ASSIGN(const auto prompt, Generate("token_ids { ids: 7 ids: 8 }"));
  EXPECT_THAT(prompt.ids, ElementsAre(7, 8));
}

TEST_F(PromptBuilderTest, TokenizeLeavesSpecialTokensOutWhenAsked) {
  ASSERT_OK_AND_ASSIGN(auto prompt, Tokenize("text: 'a' omit_special_tokens: true"));
  EXPECT_THAT(prompt.ids, ElementsAre('a'));
  ASSERT_OK_AND_ASSIGN(prompt, Tokenize("text: '<eos>' omit_special_tokens: true"));
  EXPECT_THAT(prompt.ids, ElementsAre(ByteTokenizer::kEos));
  ASSERT_OK_AND_ASSIGN(prompt,
                       Tokenize("text: '<eos>' omit_special_tokens: true plain_text: true"));
  EXPECT_THAT(prompt.ids, ElementsAre('<', 'e', 'o', 's', '>'));
}

TEST_F(PromptBuilderTest, RefusesAPromptWithoutATokenAndARequestWithoutAnInput) {
  EXPECT_THAT(PromptBuilder(tokenizer_, &template_).Build(v1::TokenizeRequest()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("input")));
  EXPECT_THAT(Generate("token_ids { }"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no token")));
}

TEST_F(PromptBuilderTest, ErrorsOfTokenizerAndTemplateReachTheClient) {
  EXPECT_THAT(Generate("prompt: '!'"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("cannot be tokenised")));
  EXPECT_THAT(Generate(R"(chat { messages { role: 'u' } template_variables_json: '[' })"),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(PromptBuilderTest, RefusesAConversationWithoutATemplate) {
  v1::GenerateRequest request;
  request.mutable_chat()->add_messages()->set_role("user");
  EXPECT_THAT(PromptBuilder(tokenizer_, nullptr).Build(request),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("no chat template")));
  EXPECT_THAT(PromptBuilder(tokenizer_, nullptr, "line 1: unknown filter").Build(request),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("unknown filter")));
}

}  // namespace
}  // namespace shira
