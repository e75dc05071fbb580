#include "server/http/answer_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_split.h"

namespace shira {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr int kChoices = 2;

AnswerHead Head(bool is_chat) {
  return {.is_chat = is_chat,
          .request_id = "r1",
          .model = "tone",
          .created = absl::FromUnixSeconds(1700000000)};
}

AnswerSummary Summary() {
  return {.request_id = "r1",
          .adapters = {{.name = "tone", .version = 2, .digest = {}, .weight = 0.5}},
          .ends = {{.choice = 0,
                    .reason = FinishReason::kStop,
                    .stop_string = "x",
                    .completion_tokens = 3,
                    .seed = 7},
                   {.choice = 1,
                    .reason = FinishReason::kStop,
                    .stop_token = 9,
                    .completion_tokens = 4,
                    .seed = 8}},
          .prompt = {1, 2, 3, 4, 5},
          .cached_prompt_tokens = 2,
          .timings = {.queue = absl::Milliseconds(1),
                      .switching = absl::Milliseconds(2),
                      .prefill = absl::Milliseconds(3),
                      .decode = absl::Milliseconds(4)}};
}

// Two tokens, the second of which ends inside of a character.
std::vector<TokenLogprobs> Logprobs() {
  return {{.chosen = {.token = 5, .logprob = -0.5f, .bytes = "\xc3\xa4"},
           .top = {{.token = 6, .logprob = -0.25f, .bytes = "b"}}},
          {.chosen = {.token = 7, .logprob = -1.0f, .bytes = "\xf0\x9f"},
           .top = {{.token = 7, .logprob = -1.0f, .bytes = "\xf0\x9f"}}}};
}

std::vector<ChoiceOutcome> Outcomes(const std::string& echo = "") {
  std::vector<ChoiceOutcome> outcomes;
  for (const AnswerEnd& end : Summary().ends) {
    outcomes.push_back({.end = end, .echo = echo, .wanted_stop_tokens = {9}});
  }
  return outcomes;
}

// The objects of events; "[DONE]" as a string.
std::vector<Json> EventsOf(const std::string& text) {
  std::vector<Json> events;
  for (const absl::string_view event : absl::StrSplit(text, "\n\n", absl::SkipEmpty())) {
    EXPECT_EQ(event.substr(0, 6), "data: ");
    const std::string data(event.substr(6));
    events.push_back(data == "[DONE]" ? Json(data) : Json::parse(data));
  }
  return events;
}

TEST(WholeAnswerTest, AChatHasMessages) {
  const std::vector<AnswerChunk> answers = {
      {.choice = 0, .text = "\xc3\xa4", .logprobs = Logprobs()}, {.choice = 1, .text = "two"}};
  const Json json = WholeAnswer(Head(true), answers, Outcomes(), {Summary()});
  EXPECT_EQ(json["id"], "chatcmpl-r1");
  EXPECT_EQ(json["object"], "chat.completion");
  EXPECT_EQ(json["created"], 1700000000);
  EXPECT_EQ(json["model"], "tone");
  ASSERT_THAT(json["choices"], SizeIs(kChoices));
  const Json& first = json["choices"][0];
  EXPECT_EQ(first["index"], 0);
  EXPECT_EQ(first["message"],
            Json({{"role", "assistant"}, {"content", "\xc3\xa4"}, {"refusal", nullptr}}));
  EXPECT_EQ(first["finish_reason"], "stop");
  EXPECT_EQ(first["stop_reason"], "x");
  const Json& tokens = first["logprobs"]["content"];
  ASSERT_THAT(tokens, SizeIs(2));
  EXPECT_EQ(tokens[0]["token"], "\xc3\xa4");
  EXPECT_EQ(tokens[0]["logprob"], -0.5);
  EXPECT_EQ(tokens[0]["bytes"], Json({0xc3, 0xa4}));
  EXPECT_EQ(tokens[0]["top_logprobs"][0]["token"], "b");
  EXPECT_EQ(tokens[1]["token"], "\\xf0\\x9f");
  EXPECT_TRUE(json["choices"][1]["logprobs"].is_null());
  EXPECT_EQ(json["choices"][1]["stop_reason"], 9);
  EXPECT_EQ(json["usage"], Json({{"prompt_tokens", 5},
                                 {"completion_tokens", 7},
                                 {"total_tokens", 12},
                                 {"prompt_tokens_details", {{"cached_tokens", 2}}}}));
  EXPECT_EQ(json["shira"]["adapters"][0]["name"], "tone");
  EXPECT_EQ(json["shira"]["adapters"][0]["version"], 2);
  EXPECT_EQ(json["shira"]["seeds"], Json({7, 8}));
  EXPECT_EQ(json["shira"]["timings"][0]["switch_ms"], 2.0);
}

TEST(WholeAnswerTest, ACompletionHasTextsAndOffsetsInCharacters) {
  const std::vector<AnswerChunk> answers = {
      {.choice = 0, .text = "\xc3\xa4", .logprobs = Logprobs()}, {.choice = 1, .text = "two"}};
  const Json json = WholeAnswer(Head(false), answers, Outcomes("Say: "), {Summary()});
  EXPECT_EQ(json["id"], "cmpl-r1");
  EXPECT_EQ(json["object"], "text_completion");
  EXPECT_EQ(json["choices"][0]["text"], "Say: \xc3\xa4");
  const Json& logprobs = json["choices"][0]["logprobs"];
  EXPECT_EQ(logprobs["tokens"], Json({"\xc3\xa4", "bytes:\\xf0\\x9f"}));
  EXPECT_EQ(logprobs["token_logprobs"], Json({-0.5, -1.0}));
  EXPECT_EQ(logprobs["text_offset"], Json({0, 1}));
  EXPECT_EQ(logprobs["top_logprobs"][0], Json({{"b", -0.25}, {"\xc3\xa4", -0.5}}));
  EXPECT_EQ(logprobs["top_logprobs"][1], Json({{"bytes:\\xf0\\x9f", -1.0}}));
}

TEST(WholeAnswerTest, AnEndTokenThatNobodyAskedForIsNoStopReason) {
  std::vector<ChoiceOutcome> outcomes = Outcomes();
  for (ChoiceOutcome& outcome : outcomes) outcome.wanted_stop_tokens.clear();
  const Json json =
      WholeAnswer(Head(true), std::vector<AnswerChunk>(kChoices), outcomes, {Summary()});
  EXPECT_TRUE(json["choices"][1]["stop_reason"].is_null());
}

TEST(AnswerStreamTest, TheRoleIsInTheFirstChunkOfEachChoice) {
  AnswerStream stream(Head(true), /*with_usage=*/false, std::vector<std::string>(kChoices));
  const std::vector<Json> first = EventsOf(stream.Events({.choice = 1, .text = "He"}));
  ASSERT_THAT(first, SizeIs(1));
  EXPECT_EQ(first[0]["object"], "chat.completion.chunk");
  EXPECT_FALSE(first[0].contains("usage"));
  const Json& choice = first[0]["choices"][0];
  EXPECT_EQ(choice["index"], 1);
  EXPECT_EQ(choice["delta"], Json({{"role", "assistant"}, {"content", "He"}}));
  EXPECT_TRUE(choice["finish_reason"].is_null());
  EXPECT_EQ(EventsOf(stream.Events({.choice = 1, .text = "y"}))[0]["choices"][0]["delta"],
            Json({{"content", "y"}}));
  EXPECT_EQ(EventsOf(stream.Events({.choice = 0}))[0]["choices"][0]["delta"],
            Json({{"role", "assistant"}, {"content", ""}}));
  const Json last =
      EventsOf(stream.Events({.choice = 1, .finish_reason = FinishReason::kLength}))[0];
  EXPECT_EQ(last["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(last["choices"][0]["delta"], Json::object());
  EXPECT_THAT(EventsOf(stream.Last({Summary()})), ElementsAre(Json("[DONE]")));
}

TEST(AnswerStreamTest, AChunkThatSaysNothingIsNotSent) {
  AnswerStream stream(Head(true), false, {""});
  stream.Events({.text = "x"});
  EXPECT_THAT(stream.Events({.token_ids = {1}}), IsEmpty());
}

TEST(AnswerStreamTest, UsageComesAtTheEndIfItIsWanted) {
  AnswerStream stream(Head(false), /*with_usage=*/true, {"Say: "});
  const Json first = EventsOf(stream.Events({.text = "a"}))[0];
  EXPECT_EQ(first["choices"][0]["text"], "Say: a");
  EXPECT_TRUE(first["usage"].is_null());
  const std::vector<Json> last = EventsOf(stream.Last({Summary()}));
  ASSERT_THAT(last, SizeIs(2));
  EXPECT_EQ(last[0]["choices"], Json::array());
  EXPECT_EQ(last[0]["usage"]["total_tokens"], 12);
  EXPECT_EQ(last[0]["shira"]["adapters"][0]["version"], 2);
  EXPECT_EQ(last[1], "[DONE]");
}

TEST(AnswerStreamTest, OffsetsOfTokensGoOnFromChunkToChunk) {
  AnswerStream stream(Head(false), false, {""});
  const auto offset = [&] {
    return EventsOf(stream.Events(
        {.text = "\xc3\xa4", .logprobs = Logprobs()}))[0]["choices"][0]["logprobs"]["text_offset"];
  };
  EXPECT_EQ(offset(), Json({0, 1}));
  EXPECT_EQ(offset(), Json({2, 3}));
}

}  // namespace
}  // namespace shira
