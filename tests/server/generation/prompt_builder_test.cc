#include "server/generation/prompt_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/server/generation/byte_tokenizer.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::ByteTokenizer;
using ::shira::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::string_view kTemplate =
    "{{ bos_token }}{% for m in messages %}{{ m.role }}:{{ m.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}>{% endif %}{{ mood }}"
    "{% for tool in tools or [] %}[{{ tool.name }}]{% endfor %}";

class PromptBuilderTest : public ::testing::Test {
 protected:
  PromptBuilderTest() : template_(ChatTemplate::Parse(kTemplate).value()) {}

  absl::StatusOr<PromptBuilder::Prompt> Build(const PromptInput& input) const {
    return PromptBuilder(tokenizer_, &template_).Build(input);
  }
  absl::StatusOr<PromptBuilder::Prompt> Tokenize(const std::string& text,
                                                 const EncodeOptions& options) const {
    return PromptBuilder(tokenizer_, &template_).FromText(text, options);
  }

  ByteTokenizer tokenizer_;
  ChatTemplate template_;
};

TEST_F(PromptBuilderTest, APromptGetsItsSpecialTokens) {
  ASSERT_OK_AND_ASSIGN(const auto prompt, Build("ab<eos>"));
  EXPECT_THAT(prompt.ids, ElementsAre(ByteTokenizer::kBos, 'a', 'b', ByteTokenizer::kEos));
}

TEST_F(PromptBuilderTest, AConversationHasWhatTheTemplateWroteAndNoMore) {
  ASSERT_OK_AND_ASSIGN(const auto prompt, Build(Conversation{.messages = {{"u", "a"}}}));
  EXPECT_EQ(prompt.text, "<bos>u:a<eos>>");
  // The byte tokenizer does not parse <bos>; a second one in front would be the tokenizer's.
  EXPECT_EQ(prompt.ids.front(), '<');
  EXPECT_THAT(std::vector<int32_t>(prompt.ids.end() - 5, prompt.ids.end()),
              ElementsAre('u', ':', 'a', ByteTokenizer::kEos, '>'));
}

TEST_F(PromptBuilderTest, TemplateVariablesArrive) {
  ASSERT_OK_AND_ASSIGN(const auto prompt,
                       Build(Conversation{.messages = {{"u", "a"}},
                                          .template_variables_json = "{\"mood\": \"glad\"}"}));
  EXPECT_EQ(prompt.text, "<bos>u:a<eos>>glad");
}

TEST_F(PromptBuilderTest, ToolsArrive) {
  ASSERT_OK_AND_ASSIGN(const auto prompt,
                       Build(Conversation{.messages = {{"u", "a"}},
                                          .tools_json = {R"({"name": "f"})", R"({"name": "g"})"}}));
  EXPECT_EQ(prompt.text, "<bos>u:a<eos>>[f][g]");
}

TEST_F(PromptBuilderTest, AContinuedLastMessageStaysOpen) {
  ASSERT_OK_AND_ASSIGN(const auto prompt, Build(Conversation{.messages = {{"u", "a"}, {"v", "b "}},
                                                             .continue_last_message = true}));
  EXPECT_EQ(prompt.text, "<bos>u:a<eos>v:b ");
}

TEST_F(PromptBuilderTest, TokenIdsAreTakenAsTheyAre) {
  ASSERT_OK_AND_ASSIGN(const auto prompt, Build(std::vector<int32_t>{7, 8}));
  EXPECT_THAT(prompt.ids, ElementsAre(7, 8));
}

TEST_F(PromptBuilderTest, TokenizeLeavesSpecialTokensOutWhenAsked) {
  ASSERT_OK_AND_ASSIGN(auto prompt, Tokenize("a", {.add_special_tokens = false}));
  EXPECT_THAT(prompt.ids, ElementsAre('a'));
  ASSERT_OK_AND_ASSIGN(prompt, Tokenize("<eos>", {.add_special_tokens = false}));
  EXPECT_THAT(prompt.ids, ElementsAre(ByteTokenizer::kEos));
  ASSERT_OK_AND_ASSIGN(
      prompt, Tokenize("<eos>", {.add_special_tokens = false, .parse_special_tokens = false}));
  EXPECT_THAT(prompt.ids, ElementsAre('<', 'e', 'o', 's', '>'));
}

TEST_F(PromptBuilderTest, RefusesAPromptWithoutAToken) {
  EXPECT_THAT(Build(std::vector<int32_t>()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no token")));
}

TEST_F(PromptBuilderTest, ErrorsOfTokenizerAndTemplateReachTheClient) {
  EXPECT_THAT(Build("!"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("cannot be tokenised")));
  EXPECT_THAT(Build(Conversation{.messages = {{"u", ""}}, .template_variables_json = "["}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("template_variables_json")));
}

TEST_F(PromptBuilderTest, RefusesAConversationWithoutATemplate) {
  const Conversation chat{.messages = {{"user", ""}}};
  EXPECT_THAT(PromptBuilder(tokenizer_, nullptr).Build(chat),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("no chat template")));
  EXPECT_THAT(PromptBuilder(tokenizer_, nullptr, "line 1: unknown filter").Build(chat),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("unknown filter")));
}

}  // namespace
}  // namespace shira
