#include "server/jinja/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "server/jinja/json.h"
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
constexpr auto kUnimplemented = absl::StatusCode::kUnimplemented;

struct Turn {
  std::string role;
  std::string content;
};

jinja::Value FromJson(std::string_view json) { return jinja::JsonReader().Read(json).value(); }

ChatTemplateInput Conversation(const std::vector<Turn>& turns) {
  ChatTemplateInput input;
  for (const Turn& turn : turns) {
    jinja::Dict message;
    message.Set("role", jinja::Value::String(turn.role));
    message.Set("content", jinja::Value::String(turn.content));
    input.messages.push_back(jinja::Value::FromDict(std::move(message)));
  }
  return input;
}

absl::StatusOr<std::string> RenderInput(std::string_view source, ChatTemplateInput input,
                                        const ChatTemplateOptions& options = {}) {
  SHIRA_ASSIGN_OR_RETURN(const ChatTemplate chat, ChatTemplate::Parse(source));
  return chat.Render(std::move(input), options);
}

absl::StatusOr<std::string> Render(std::string_view source, const std::vector<Turn>& turns = {},
                                   const ChatTemplateOptions& options = {}) {
  return RenderInput(source, Conversation(turns), options);
}

std::string Repeat(std::string_view text, int count) {
  std::string repeated;
  for (int i = 0; i < count; ++i) repeated += text;
  return repeated;
}

TEST(ChatTemplateTest, RendersAConversationInChatMl) {
  constexpr std::string_view kChatMl =
      "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
      "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
  EXPECT_THAT(Render(kChatMl, {{"system", "Be brief."}, {"user", "Hi"}}),
              IsOkAndHolds("<|im_start|>system\nBe brief.<|im_end|>\n"
                           "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"));
  ChatTemplateOptions options;
  options.add_generation_prompt = false;
  EXPECT_THAT(Render(kChatMl, {{"user", "Hi"}}, options),
              IsOkAndHolds("<|im_start|>user\nHi<|im_end|>\n"));
}

TEST(ChatTemplateTest, GivesTheTemplateItsTokensAndVariables) {
  ChatTemplateOptions options;
  options.special_tokens = {{"bos_token", "<s>"}, {"eos_token", "</s>"}, {"image_token", "<i>"}};
  ChatTemplateInput input;
  input.tools = FromJson(R"([{"name": "é", "n": 1.0}])");
  input.documents = FromJson(R"([{"title": "t"}])");
  input.variables = FromJson(R"({"enable_thinking": false})").dict();
  EXPECT_THAT(
      RenderInput(
          "{{ bos_token }}{{ eos_token }}{{ image_token }}{{ enable_thinking }}{{ tools|tojson }}"
          "{{ documents }}",
          input, options),
      IsOkAndHolds("<s></s><i>False[{\"name\": \"é\", \"n\": 1.0}][{'title': 't'}]"));
  input.variables = FromJson(R"({"eos_token": "<other>"})").dict();
  EXPECT_THAT(RenderInput("{{ eos_token }}", input, options), IsOkAndHolds("<other>"));
}

TEST(ChatTemplateTest, TakesTheTemplateForToolsWhereThereAreAny) {
  ASSERT_OK_AND_ASSIGN(const ChatTemplate chat, ChatTemplate::Parse("plain", "tools"));
  EXPECT_THAT(chat.Render({}, {}), IsOkAndHolds("plain"));
  EXPECT_THAT(chat.Render({.tools = FromJson("[]")}, {}), IsOkAndHolds("tools"));
  EXPECT_THAT(ChatTemplate::Parse("plain", "{% nothing %}").status(), StatusIs(kUnimplemented));
}

TEST(ChatTemplateTest, ContinuesTheLastMessage) {
  ChatTemplateOptions options;
  options.add_generation_prompt = false;
  options.continue_last_message = true;
  const std::vector<Turn> messages = {{"user", "Hi"}, {"assistant", "The capital "}};
  EXPECT_THAT(Render("{% for m in messages %}<{{ m.content }}>{% endfor %}!", messages, options),
              IsOkAndHolds("<Hi><The capital "));
  EXPECT_THAT(
      Render("{% for m in messages %}<{{ m.content|trim }}>{% endfor %}", messages, options),
      IsOkAndHolds("<Hi><The capital"));
  EXPECT_THAT(Render("{{ messages[0].content }}", messages, options),
              StatusIs(kInvalid, HasSubstr("cannot be continued")));
  EXPECT_THAT(Render("{{ messages[1].content|upper }}", messages, options), StatusIs(kInvalid));
  EXPECT_THAT(Render("{{ messages[1].role }}", messages, options), StatusIs(kInvalid));
  EXPECT_THAT(Render("{{ 'content' }}", {}, options), StatusIs(kInvalid, HasSubstr("no last")));
}

TEST(ChatTemplateTest, ContinuesTheLastTextOfTheLastMessage) {
  constexpr std::string_view kParts =
      "{% for m in messages %}<{% for p in m.content %}{{ p.text or '*' }},{% endfor %}>{% endfor "
      "%}";
  ChatTemplateOptions options;
  options.add_generation_prompt = false;
  options.continue_last_message = true;
  const auto render = [&](std::string_view message) {
    return RenderInput(kParts, ChatTemplateInput{.messages = {FromJson(message)}}, options);
  };
  EXPECT_THAT(render(R"({"content": [{"text": "a"}, {"text": "b "}]})"), IsOkAndHolds("<a,b "));
  EXPECT_THAT(render(R"({"content": [{"text": "a"}, {"type": "image"}]})"), IsOkAndHolds("<a"));
  for (const char* without : {R"({"role": "user"})", R"({"content": null})", R"({"content": []})",
                              R"({"content": [{"type": "image"}]})"}) {
    EXPECT_THAT(render(without), StatusIs(kInvalid, HasSubstr("has no text"))) << without;
  }
}

TEST(ChatTemplateTest, LeavesTokensThatAreNotThereUndefinedAndToolsNone) {
  EXPECT_THAT(Render("{{ bos_token is defined }}{{ eos_token is defined }}{{ tools is none }}"
                     "{{ documents is none }}"),
              IsOkAndHolds("FalseFalseTrueTrue"));
}

TEST(ChatTemplateTest, GivesTheTemplateEveryFieldOfAMessage) {
  const ChatTemplateInput input = {
      .messages = {FromJson(R"({"role": "assistant", "tool_calls": [{"name": "f"}]})")}};
  EXPECT_THAT(RenderInput("{{ messages[0].tool_calls[0].name }}{{ messages[0] }}", input),
              IsOkAndHolds("f{'role': 'assistant', 'tool_calls': [{'name': 'f'}]}"));
}

TEST(ChatTemplateTest, ReasoningHasEveryNameThatTemplatesReadItUnder) {
  const auto seen = [](std::string_view message) {
    return RenderInput("{{ messages[0]|tojson }}", {.messages = {FromJson(message)}});
  };
  EXPECT_THAT(seen(R"({"role": "a", "reasoning_content": "r", "x": 1})"),
              IsOkAndHolds(R"({"thinking": "r", "role": "a", "reasoning_content": "r", "x": 1})"));
  EXPECT_THAT(seen(R"({"role": "a", "reasoning": "r"})"),
              IsOkAndHolds(
                  R"({"thinking": "r", "role": "a", "reasoning": "r", "reasoning_content": "r"})"));
  EXPECT_THAT(seen(R"({"thinking": "t", "reasoning_content": "r"})"),
              IsOkAndHolds(R"({"thinking": "t", "reasoning_content": "r"})"));
  EXPECT_THAT(seen(R"({"reasoning_content": null})"),
              IsOkAndHolds(R"({"reasoning_content": null})"));
}

TEST(ChatTemplateTest, FormatsTheTimeOfTheOptionsInTheProcesssTimeZone) {
  ChatTemplateOptions options;
  options.now = absl::FromUnixSeconds(1'732'430'000);
  const std::pair<const char*, const char*> zones[] = {{"UTC0", "24 Nov 2024 06:33 "},
                                                       {"EAST-14", "24 Nov 2024 20:33 "},
                                                       {"WEST+11", "23 Nov 2024 19:33 "}};
  for (const auto& [zone, time] : zones) {
    setenv("TZ", zone, /*overwrite=*/1);
    tzset();
    EXPECT_THAT(Render("{{ strftime_now('%d %b %Y %H:%M %Z') }}", {}, options), IsOkAndHolds(time));
  }
  options.now = absl::InfiniteFuture();
  EXPECT_THAT(Render("{{ strftime_now('%Y') }}", {}, options), StatusIs(kInvalid));
}

TEST(ChatTemplateTest, ReportsSyntaxErrorsWithLineAndColumn) {
  EXPECT_THAT(ChatTemplate::Parse("ab\n é{{ 1 + }}").status(),
              StatusIs(kInvalid, StartsWith("line 2, column 10: ")));
  EXPECT_THAT(ChatTemplate::Parse("x{% if t %}\n").status(),
              StatusIs(kInvalid, AllOf(StartsWith("line 1, column 12: "), HasSubstr("endif"))));
  EXPECT_THAT(ChatTemplate::Parse("\n{# x").status(),
              StatusIs(kInvalid, StartsWith("line 2, column 3: ")));
  EXPECT_THAT(ChatTemplate::Parse("{{ 'a }}").status(),
              StatusIs(kInvalid, StartsWith("line 1, column 4: ")));
}

TEST(ChatTemplateTest, RefusesUnknownNamesWhenParsingEvenWhereTheyAreNotReached) {
  const auto refuses = [](std::string_view source, std::string_view name) {
    EXPECT_THAT(ChatTemplate::Parse(source).status(),
                StatusIs(kUnimplemented,
                         AllOf(StartsWith("line 2, column "), HasSubstr(std::string(name)))))
        << source;
  };
  refuses("\n{% include 'x' %}", "unknown tag 'include'");
  refuses("\n{% if false %}{{ 1|nothing }}{% endif %}", "unknown filter 'nothing'");
  refuses("\n{{ 1 is nothing }}", "unknown test 'nothing'");
  refuses("\n{{ 1 if true else nothing() }}", "unknown function 'nothing'");
  refuses("\n{{ []|map('nothing') }}", "unknown filter 'nothing'");
  refuses("\n{{ []|selectattr('a', 'nothing') }}", "unknown test 'nothing'");
  refuses("\n{% for x in [] recursive %}{% endfor %}", "recursive");
}

TEST(ChatTemplateTest, PassesOnTheMessageOfRaiseException) {
  EXPECT_THAT(Render("\n {{ raise_exception('No ' ~ messages[0].role) }}", {{"system", ""}}),
              StatusIs(kInvalid, AllOf(StartsWith("line 2, column "), HasSubstr("No system"))));
}

TEST(ChatTemplateTest, ReportsFailedOperationsWithTheInnermostPlace) {
  EXPECT_THAT(Render("{% for m in messages %}\n{{ m.nothing.more }}{% endfor %}", {{"user", ""}}),
              StatusIs(kInvalid, AllOf(StartsWith("line 2, column 13: "),
                                       HasSubstr("'dict object' has no attribute 'nothing'"))));
  EXPECT_THAT(Render("{{ messages + 1 }}"), StatusIs(kInvalid, HasSubstr("'list' and 'int'")));
  EXPECT_THAT(Render("{{ 'x'.encode() }}"), StatusIs(kUnimplemented, HasSubstr("'encode'")));
}

TEST(ChatTemplateTest, RefusesTextThatIsNotUtf8OrTooLong) {
  ChatTemplateOptions options;
  options.special_tokens = {{"bos_token", "\xff"}};
  EXPECT_THAT(Render("", {}, options), StatusIs(kInvalid, HasSubstr("bos_token")));
  EXPECT_THAT(ChatTemplate::Parse("a\xff").status(), StatusIs(kInvalid, HasSubstr("UTF-8")));
  EXPECT_THAT(ChatTemplate::Parse(Repeat("x", (1 << 20) + 1)).status(),
              StatusIs(kInvalid, HasSubstr("at most")));
}

TEST(ChatTemplateTest, RendersFromManyThreadsAtOnce) {
  ASSERT_OK_AND_ASSIGN(
      const ChatTemplate chat,
      ChatTemplate::Parse("{% set ns = namespace(n=0) %}{% for m in messages %}"
                          "{% set ns.n = ns.n + loop.index %}{% endfor %}{{ ns.n }}"));
  std::vector<std::string> results(8);
  std::vector<std::thread> threads;
  for (std::string& result : results) {
    threads.emplace_back([&] {
      const std::vector<Turn> messages(100, Turn{"user", "x"});
      result = chat.Render(Conversation(messages), {}).value_or("failed");
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(results, ::testing::Each("5050"));
}

// What a hostile template may try. Each ends in an error, without a crash and without a leak.
class HostileTemplateTest : public ::testing::TestWithParam<std::pair<const char*, std::string>> {};

TEST_P(HostileTemplateTest, IsStoppedAtABound) {
  EXPECT_THAT(Render(GetParam().second), StatusIs(absl::StatusCode::kResourceExhausted));
}

std::vector<std::pair<const char*, std::string>> HostileTemplates() {
  const std::string holder = "{% set ns = namespace(v='x', w=[]) %}";
  const auto loop = [](const std::string& body) {
    return "{% for i in range(100000) %}" + body + "{% endfor %}";
  };
  return {
      {"Steps", loop(loop("{{ i }}"))},
      {"StepsInATest", loop("{% if range(100000)|select('gt', 5)|list %}{% endif %}")},
      {"Parentheses", "{{ " + Repeat("(", 5000) + "1" + Repeat(")", 5000) + " }}"},
      {"Brackets", "{{ " + Repeat("[", 5000) + Repeat("]", 5000) + " }}"},
      {"Signs", "{{ " + Repeat("-", 5000) + "1 }}"},
      {"Nots", "{{ " + Repeat("not ", 5000) + "1 }}"},
      {"Sum", "{{ 1" + Repeat(" + 1", 5000) + " }}"},
      {"Filters", "{{ 'x'" + Repeat("|upper", 5000) + " }}"},
      {"Attributes", "{{ x" + Repeat(".x", 5000) + " }}"},
      {"Conditionals", "{{ 1" + Repeat(" if 1 else 1", 5000) + " }}"},
      {"Blocks", Repeat("{% if 1 %}", 5000) + Repeat("{% endif %}", 5000)},
      {"Targets", "{% set " + Repeat("(", 5000) + "x" + Repeat(")", 5000) + " = 1 %}"},
      {"Recursion", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"},
      {"MutualRecursion",
       "{% macro a(x) %}{{ [b([x])] }}{% endmacro %}{% macro b(x) %}{{ {'k': a(x)} }}{% endmacro "
       "%}{{ a(1) }}"},
      {"RecursionThroughACaller",
       "{% macro m() %}{% call m() %}{% endcall %}{{ caller is defined }}{% endmacro %}{{ m() }}"},
      {"DoublingText", holder + loop("{% set ns.v = ns.v ~ ns.v %}")},
      {"DoublingTextWithPlus", holder + loop("{% set ns.v = ns.v + ns.v %}")},
      {"DoublingTextWithJoin", holder + loop("{% set ns.v = [ns.v, ns.v]|join %}")},
      {"DoublingTextWithReplace", holder + loop("{% set ns.v = ns.v|replace('x', 'xx') %}")},
      {"DoublingTextWithFormat", holder + loop("{% set ns.v = '%s%s' % (ns.v, ns.v) %}")},
      {"DoublingTextWithBraces", holder + loop("{% set ns.v = '{0}{0}'.format(ns.v) %}")},
      {"DoublingText by repr", holder + loop("{% set ns.v = [ns.v, ns.v]|string %}")},
      {"DoublingOutput", holder + loop("{% set ns.v %}{{ ns.v }}{{ ns.v }}{% endset %}")},
      {"DoublingLists", "{% set ns = namespace(w=[1]) %}" + loop("{% set ns.w = ns.w + ns.w %}")},
      {"RepeatedText", "{{ 'x' * 1000000000000 }}"},
      {"RepeatedList", "{{ [1] * 1000000000000 }}"},
      {"Centre", "{{ 'x'|center(1000000000000) }}"},
      {"Justify", "{{ 'x'.ljust(1000000000000) }}"},
      {"Zeros", "{{ '1'.zfill(1000000000000) }}"},
      {"Indent", "{{ 'x'|indent(1000000000000) }}"},
      {"JsonIndent", "{{ [1]|tojson(indent=1000000000000) }}"},
      {"FormatWidth", "{{ '%1000000000000d' % 1 }}"},
      {"Batch", "{{ [1]|batch(1000000000000, 1)|list }}"},
      {"Range", "{{ range(1000000000000) }}"},
      {"NestedLists", holder + loop("{% set ns.w = [ns.w] %}")},
      {"NestedDicts", holder + loop("{% set ns.w = {'w': ns.w} %}")},
      {"NestedIterators",
       holder + loop("{% set ns.w = ns.w|map('string') %}{% set ns.w = [ns.w]|reverse %}")},
      {"NestedMethods", holder + loop("{% set ns.w = [ns.w].index %}")},
      {"NestedCyclers", holder + loop("{% set ns.w = cycler(ns.w) %}")},
      {"PrintedCycle", "{% set ns = namespace() %}{% set ns.n = ns %}{{ ns }}"},
      {"PrintedGraph",
       holder + "{% for i in range(60) %}{% set ns.w = [ns.w, ns.w] %}{% endfor %}{{ ns.w }}"},
      {"JsonGraph",
       holder +
           "{% for i in range(60) %}{% set ns.w = [ns.w, ns.w] %}{% endfor %}{{ ns.w|tojson }}"},
      {"ComparedGraphs",
       "{% set ns = namespace(a=[1], b=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}"
       "{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ ns.a == ns.b }}"},
      {"SortedGraphs",
       "{% set ns = namespace(a=[1], b=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}"
       "{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ [ns.a, ns.b]|sort }}"},
      {"LongTextReadOften", "{% set t = 'x' * 10000000 %}" +
                                loop("{% if t|length %}{% endif %}{% if t[5] %}{% endif %}")},
  };
}

INSTANTIATE_TEST_SUITE_P(All, HostileTemplateTest, ::testing::ValuesIn(HostileTemplates()),
                         [](const auto& info) {
                           std::string name = info.param.first;
                           std::erase(name, ' ');
                           return name;
                         });

TEST(ChatTemplateTest, FreesCyclesOfNamespacesAndLoops) {
  EXPECT_THAT(
      Render(
          "{% set ns = namespace() %}{% set ns.n = [ns] %}"
          "{% macro m() %}{{ m is defined }}{% endmacro %}{% set ns.m = m %}"
          "{% for x in [1, 2] if x %}{% set ns.l = loop %}{{ loop.changed(loop, ns) }}{% endfor %}"
          "{{ ns.m() }}{{ ns.l.last }}{{ ns.l.index }}"),
      IsOkAndHolds("TrueFalseTrueTrue2"));
  EXPECT_THAT(Render("{% set ns = namespace() %}{% set ns.n = ns %}{{ 1 / 0 }}"),
              StatusIs(kInvalid));
}

TEST(ChatTemplateTest, CallsAMacroOfARoundThatIsOver) {
  EXPECT_THAT(
      Render("{% set ns = namespace() %}{% for x in [1, 2] %}{% set y = x * 10 %}"
             "{% macro m() %}{{ x }}-{{ y }}{% endmacro %}{% if loop.first %}{% set ns.m = m %}"
             "{% endif %}{% endfor %}{{ ns.m() }}"),
      IsOkAndHolds("1-10"));
}

// Damaged templates give an error or some text; which one is jinja2's business, but nothing
// crashes.
TEST(ChatTemplateTest, SurvivesTruncatedAndChangedTemplates) {
  ChatTemplateInput input = Conversation({{"system", "s"}, {"user", "u"}});
  input.messages.push_back(
      FromJson(R"({"role": "assistant", "content": "<think>t</think>a", "tool_calls": []})"));
  input.tools = FromJson(R"([{"type": "function", "function": {"name": "f",
      "description": "d", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}}])");
  const ChatTemplateOptions options;
  const std::filesystem::path folder = SHIRA_SOURCE_DIR "/tests/golden/chat_templates";
  int rendered = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(entry.path());
    const std::string source((std::istreambuf_iterator<char>(file)), {});
    const auto attempt = [&](std::string_view changed) {
      const absl::StatusOr<ChatTemplate> chat = ChatTemplate::Parse(changed);
      if (chat.ok()) rendered += chat->Render(input, options).ok() ? 1 : 0;
    };
    for (size_t size = 0; size < source.size(); size += 7) {
      attempt(std::string_view(source).substr(0, size));
    }
    constexpr std::string_view kInserted = "{}%#'\"-|.([";
    for (size_t i = 0; i < source.size(); i += 5) {
      std::string changed = source;
      changed[i] = static_cast<char>(changed[i] ^ (1 << (i % 7)));
      attempt(changed);
      changed = source;
      changed.insert(i, 1, kInserted[i % kInserted.size()]);
      attempt(changed);
      changed = source;
      changed.erase(i, 3);
      attempt(changed);
    }
  }
  EXPECT_GT(rendered, 0);
}

}  // namespace
}  // namespace shira
