#include <gmock/gmock.h>

#include "tests/client/cli/cli_test_base.h"
#include "tests/testutil/temp_folder.h"

namespace shira::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class GenerateCommandTest : public CliTest {};

TEST_F(GenerateCommandTest, PrintsTheTextAndNothingElse) {
  const CliResult result = Run({"generate", "--prompt", "Grüße 🏴"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out, "You said: Grüße 🏴\n");
  EXPECT_EQ(result.err, "");
}

TEST_F(GenerateCommandTest, PrintsTheSameWithoutStreaming) {
  EXPECT_EQ(Run({"generate", "--prompt", "Hi", "--no-stream"}).out, "You said: Hi\n");
}

TEST_F(GenerateCommandTest, DoesNotAddAnEmptyLine) {
  EXPECT_EQ(Run({"generate", "--prompt", "Hi\n"}).out, "You said: Hi\n");
}

TEST_F(GenerateCommandTest, PrintsFiguresWhenVerbose) {
  const CliResult result = Run({"generate", "--prompt", "Hi", "-v"});
  EXPECT_EQ(result.err,
            "[base; 2 + 12 tokens, stop; queue 0.1 ms, switch 2.5 ms, prefill 30 ms, decode 1.00 s "
            "(11.0 tokens/s)]\n");
}

TEST_F(GenerateCommandTest, PrintsOneJsonObjectWithTheDocumentedKeys) {
  Load("pirate");
  const Json json = RunJson({"generate", "--prompt", "Hi", "--adapter", "pirate:0.5"});
  EXPECT_THAT(Keys(json), UnorderedElementsAre("text", "token_ids", "prompt_token_ids", "adapter",
                                               "finish_reason", "stop_token_id", "usage",
                                               "timings_ms", "request_id"));
  EXPECT_EQ(json["text"], "You said: Hi");
  EXPECT_EQ(json["token_ids"].size(), 12);
  EXPECT_EQ(json["prompt_token_ids"], Json({72, 105}));
  EXPECT_THAT(Keys(json["adapter"][0]),
              UnorderedElementsAre("name", "version", "digest", "weight"));
  EXPECT_EQ(json["adapter"][0]["name"], "pirate");
  EXPECT_EQ(json["adapter"][0]["version"], 1);
  EXPECT_EQ(json["adapter"][0]["digest"].get<std::string>().size(), 64);
  EXPECT_EQ(json["adapter"][0]["weight"], 0.5);
  EXPECT_EQ(json["finish_reason"], "stop");
  EXPECT_EQ(json["stop_token_id"], 2);
  EXPECT_EQ(json["usage"], Json({{"prompt_tokens", 2},
                                 {"cached_prompt_tokens", 0},
                                 {"completion_tokens", 12},
                                 {"drafted_tokens", 0},
                                 {"accepted_tokens", 0},
                                 {"total_tokens", 14}}));
  EXPECT_EQ(json["timings_ms"],
            Json({{"queue", 0.1}, {"switch", 2.5}, {"prefill", 30.0}, {"decode", 1000.0}}));
  EXPECT_TRUE(json["timings_ms"]["decode"].is_number_float());
}

TEST_F(GenerateCommandTest, ReportsDrafts) {
  EXPECT_THAT(Run({"generate", "--prompt", "Hi", "--speculate", "on", "-v"}).err,
              HasSubstr("stop (4 of 5 drafts accepted); queue"));
  const Json json = RunJson({"generate", "--prompt", "Hi", "--speculate", "on"});
  EXPECT_EQ(json["usage"]["drafted_tokens"], 5);
  EXPECT_EQ(json["usage"]["accepted_tokens"], 4);
}

TEST_F(GenerateCommandTest, ReportsTheSeedOfASampledAnswer) {
  EXPECT_EQ(RunJson({"generate", "--prompt", "Hi", "--temperature", "0.5"})["seed"], 42);
  // The largest seed stays exact.
  EXPECT_EQ(RunJson({"generate", "--prompt", "Hi", "--temperature", "0.5", "--seed",
                     "18446744073709551615"})["seed"],
            18446744073709551615u);
  EXPECT_FALSE(RunJson({"generate", "--prompt", "Hi"}).contains("seed"));
}

TEST_F(GenerateCommandTest, ReportsLogprobs) {
  const Json json = RunJson({"generate", "--prompt", "é", "--logprobs", "2"});
  const Json& last = json["logprobs"].back();
  EXPECT_EQ(json["logprobs"].size(), json["token_ids"].size());
  EXPECT_THAT(Keys(last), UnorderedElementsAre("token_id", "logprob", "token", "bytes", "top"));
  EXPECT_EQ(last["token"], "é");
  EXPECT_EQ(last["bytes"], Json({0xC3, 0xA9}));
  EXPECT_EQ(last["top"].size(), 2);
  EXPECT_EQ(last["top"][1]["logprob"], -1.25);
  EXPECT_THAT(Run({"generate", "--prompt", "é", "--logprobs", "1"}).out,
              HasSubstr("\"é\"    233   -0.250  \"é\" -0.250\n"));
}

TEST_F(GenerateCommandTest, SendsEveryOption) {
  Load("pirate");
  Load("team/json.v2");
  ASSERT_EQ(Run({"generate",
                 "--prompt",
                 "Hi",
                 "--adapter",
                 "pirate",
                 "--adapter",
                 "team/json.v2:-0.25",
                 "--max-tokens",
                 "5",
                 "--temperature",
                 "0.5",
                 "--seed",
                 "7",
                 "--ignore-eos",
                 "--stop",
                 "[a,b]",
                 "--stop",
                 "-x",
                 "--top-p",
                 "0.75",
                 "--top-k",
                 "40",
                 "--min-p",
                 "0.125",
                 "--repetition-penalty",
                 "1.5",
                 "--presence-penalty",
                 "0.5",
                 "--frequency-penalty",
                 "-0.25",
                 "--logit-bias",
                 "7:-100",
                 "--logit-bias",
                 "9:2.5",
                 "--priority",
                 "-3",
                 "--speculate",
                 "off",
                 "--n",
                 "2",
                 "--logprobs",
                 "0"})
                .exit_code,
            0);
  const v1::GenerateRequest request = server_.last_generate();
  EXPECT_EQ(request.prompt(), "Hi");
  ASSERT_EQ(request.adapter().adapters_size(), 2);
  EXPECT_EQ(request.adapter().adapters(0).name(), "pirate");
  EXPECT_FALSE(request.adapter().adapters(0).has_weight());
  EXPECT_EQ(request.adapter().adapters(1).name(), "team/json.v2");
  EXPECT_EQ(request.adapter().adapters(1).weight(), -0.25);
  EXPECT_EQ(request.stop().max_tokens(), 5);
  EXPECT_THAT(request.stop().stop_strings(), ElementsAre("[a,b]", "-x"));
  EXPECT_TRUE(request.stop().ignore_eos());
  EXPECT_EQ(request.sampling().temperature(), 0.5f);
  EXPECT_EQ(request.sampling().seed(), 7);
  EXPECT_EQ(request.sampling().top_p(), 0.75f);
  EXPECT_EQ(request.sampling().top_k(), 40);
  EXPECT_EQ(request.sampling().min_p(), 0.125f);
  EXPECT_EQ(request.sampling().repetition_penalty(), 1.5f);
  EXPECT_EQ(request.sampling().presence_penalty(), 0.5f);
  EXPECT_EQ(request.sampling().frequency_penalty(), -0.25f);
  EXPECT_EQ(request.sampling().logit_bias().size(), 2);
  EXPECT_EQ(request.sampling().logit_bias().at(7), -100.0f);
  EXPECT_EQ(request.sampling().logit_bias().at(9), 2.5f);
  EXPECT_EQ(request.priority(), -3);
  EXPECT_TRUE(request.has_speculate());
  EXPECT_FALSE(request.speculate());
  EXPECT_EQ(request.n(), 2);
  EXPECT_TRUE(request.has_logprobs());
  EXPECT_EQ(request.logprobs(), 0);
}

TEST_F(GenerateCommandTest, PrintsSeveralAnswersBelowTheirNumbers) {
  EXPECT_EQ(Run({"generate", "--prompt", "Hi", "--n", "2"}).out,
            "[0]\nYou said: Hi#0\n\n[1]\nYou said: Hi#1\n");
  const Json json = RunJson({"generate", "--prompt", "Hi", "--n", "2", "--temperature", "1"});
  ASSERT_EQ(json["choices"].size(), 2);
  EXPECT_THAT(Keys(json["choices"][1]),
              UnorderedElementsAre("index", "text", "token_ids", "finish_reason", "seed"));
  EXPECT_EQ(json["choices"][1]["text"], "You said: Hi#1");
  EXPECT_EQ(json["choices"][1]["seed"], 43);
}

TEST_F(GenerateCommandTest, RefusesAMalformedBias) {
  for (const char* bias : {"7", "a:1", "7:b", "7:1:2", ""}) {
    EXPECT_EQ(Run({"generate", "--prompt", "Hi", "--logit-bias", bias}).exit_code, 2) << bias;
  }
}

TEST_F(GenerateCommandTest, LeavesToTheServerWhatIsNotGiven) {
  Run({"generate", "--prompt", "Hi"});
  const v1::GenerateRequest request = server_.last_generate();
  EXPECT_FALSE(request.has_adapter());
  EXPECT_FALSE(request.stop().has_max_tokens());
  EXPECT_FALSE(request.sampling().has_seed());
  EXPECT_FALSE(request.sampling().has_top_p());
  EXPECT_FALSE(request.sampling().has_repetition_penalty());
  EXPECT_FALSE(request.has_logprobs());
}

TEST_F(GenerateCommandTest, AsksForTheBaseWithAnEmptySelection) {
  Run({"generate", "--prompt", "Hi", "--base"});
  EXPECT_TRUE(server_.last_generate().has_adapter());
  EXPECT_EQ(server_.last_generate().adapter().adapters_size(), 0);
}

TEST_F(GenerateCommandTest, MakesAConversationOfTheOnePrompt) {
  Run({"generate", "--chat", "--system", "Be brief.", "--prompt", "Hi"});
  const v1::ChatInput chat = server_.last_generate().chat();
  ASSERT_EQ(chat.messages_size(), 2);
  EXPECT_EQ(chat.messages(0).role(), "system");
  EXPECT_EQ(chat.messages(0).content(), "Be brief.");
  EXPECT_EQ(chat.messages(1).role(), "user");
  EXPECT_EQ(chat.messages(1).content(), "Hi");
}

TEST_F(GenerateCommandTest, SendsAConversationFromFiles) {
  const TempFolder folder;
  const std::string messages =
      folder.Write("messages.json",
                   R"([{"role": "user", "content": "Who?"}, {"role": "assistant", "content": null,
      "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
      {"role": "tool", "tool_call_id": "1", "content": "Ann"}])");
  const std::string tools = folder.Write("tools.json", R"([{"b": 1.0, "a": {}}, {"c": 1}])");
  const std::string documents = folder.Write("documents.json", R"([{"text": "t"}])");
  const std::vector<std::string> arguments = {
      "generate",  "--messages",           messages,    "--tools",
      tools,       "--documents",          documents,   "--system",
      "Be brief.", "--template-variables", "{\"k\": 1}"};
  // Standard input, which has nothing, is not asked.
  EXPECT_EQ(Run(arguments).out, "You said: Ann\n");
  v1::ChatInput chat = server_.last_generate().chat();
  ASSERT_EQ(chat.messages_size(), 4);
  EXPECT_EQ(chat.messages(0).content(), "Be brief.");
  EXPECT_EQ(chat.messages(2).tool_calls(0).name(), "f");
  EXPECT_EQ(chat.messages(3).tool_call_id(), "1");
  EXPECT_THAT(chat.tools_json(), ElementsAre(R"({"b":1.0,"a":{}})", R"({"c":1})"));
  EXPECT_THAT(chat.documents_json(), ElementsAre(R"({"text":"t"})"));
  EXPECT_EQ(chat.template_variables_json(), "{\"k\": 1}");

  std::vector<std::string> with_text = arguments;
  with_text.push_back("And who else?");
  EXPECT_EQ(Run(with_text).out, "You said: And who else?\n");
  chat = server_.last_generate().chat();
  ASSERT_EQ(chat.messages_size(), 5);
  EXPECT_EQ(chat.messages(4).role(), "user");
  EXPECT_EQ(Run({"generate", "--messages", messages, "-"}, "piped\n").out, "You said: piped\n");
}

TEST_F(GenerateCommandTest, SaysWhatIsWrongWithAFile) {
  const TempFolder folder;
  const auto says = [&](const char* option, const std::string& text, const std::string& problem) {
    const std::string path = folder.Write("file.json", text);
    const CliResult result = Run({"generate", "Hi", "--chat", option, path});
    EXPECT_EQ(result.exit_code, 1) << text;
    EXPECT_THAT(result.err, HasSubstr(path + ": " + problem)) << text;
  };
  says("--messages", "{}", "expected a JSON array");
  says("--messages", "[{\"role\": \"user\"}, 1]", "message 1: expected an object with a role");
  says("--messages", "[{\"content\": \"x\"}]", "message 0: expected");
  says("--tools", "[", "malformed JSON at byte");
  says("--tools", "[{\"n\": 123456789012345678901}]", "the integer 123456789012345678901 has more");
  says("--documents", "{}", "expected a JSON array");
  EXPECT_THAT(Run({"generate", "Hi", "--chat", "--tools", folder.Path("none")}).err,
              HasSubstr("none: No such file"));
}

TEST_F(GenerateCommandTest, OptionsOfConversationsNeedOne) {
  for (const char* option : {"--system", "--tools", "--documents", "--template-variables"}) {
    const CliResult result = Run({"generate", "Hi", option, "x"});
    EXPECT_EQ(result.exit_code, 2) << option;
    EXPECT_THAT(result.err, HasSubstr(std::string(option) + " requires --chat or --messages"));
  }
}

TEST_F(GenerateCommandTest, ReadsThePromptFromStandardInput) {
  EXPECT_EQ(Run({"generate", "--prompt", "-"}, "line 1\nline 2\n").out,
            "You said: line 1\nline 2\n");
}

TEST_F(GenerateCommandTest, TakesThePromptFromWhereverItIs) {
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {"generate", "Hi there"},
           {"generate", "Hi", "there"},
           {"generate", "--max-tokens", "40", "--adapter", "pirate", "Hi there"},
           {"generate", "--prompt", "Hi there"}}) {
    Load("pirate");
    EXPECT_EQ(Run(arguments).out, "You said: Hi there\n") << ::testing::PrintToString(arguments);
    EXPECT_EQ(server_.last_generate().prompt(), "Hi there");
  }
  EXPECT_EQ(RunCli({"generate", "--server", server_.address(), "--", "-Hi"}).out,
            "You said: -Hi\n");
  EXPECT_EQ(Run({"generate", "status"}).out, "You said: status\n");
  // The command line's is the prompt, whatever else waits.
  EXPECT_EQ(Run({"generate", "Hi"}, "not me").out, "You said: Hi\n");
}

TEST_F(GenerateCommandTest, ReadsAPromptThatIsPipedIn) {
  const std::vector<std::vector<std::string>> ways = {
      {"generate"}, {"generate", "-"}, {"generate", "--prompt", "-"}, {"generate", "--chat"}};
  for (const std::vector<std::string>& arguments : ways) {
    EXPECT_EQ(Run(arguments, "line 1\nline 2\n").exit_code, 0);
    const v1::GenerateRequest request = server_.last_generate();
    // Without the line end of the file, as a shell's $(...) has it.
    EXPECT_EQ(request.has_chat() ? request.chat().messages(0).content() : request.prompt(),
              "line 1\nline 2");
  }
  Run({"generate"}, "two\r\n\r\n");
  EXPECT_EQ(server_.last_generate().prompt(), "two\r\n");
}

TEST_F(GenerateCommandTest, SaysWhereAPromptIsExpected) {
  const CliResult result = Run({"generate"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("no prompt"));
  EXPECT_EQ(Run({"generate", "Hi", "--prompt", "Ho"}).exit_code, 2);
}

TEST_F(GenerateCommandTest, SaysWhichAdapterWasMeant) {
  for (const char* name : {"pirate", "party", "json"}) Load(name);
  CliResult result = Run({"generate", "Hi", "--adapter", "pirat:0.5"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("error: NOT_FOUND: No adapter 'pirat' [ADAPTER_NOT_FOUND]\n"
                                    "Did you mean 'pirate'? The server has: json, party, pirate."));
  result = Run({"adapter", "apply", "frobnicate"});
  EXPECT_THAT(result.err, HasSubstr("\nThe server has: json, party, pirate."));
  // For scripts nothing changes.
  EXPECT_EQ(Run({"generate", "Hi", "--adapter", "pirat", "--json"}).err, "");
}

TEST_F(GenerateCommandTest, RefusesAPromptThatIsNotUtf8) {
  const CliResult result = Run({"generate", "--prompt", "-"}, "ab\xff");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("not UTF-8 at byte 2"));
}

TEST_F(GenerateCommandTest, PrintsTheServersErrorOnStandardError) {
  const CliResult result = Run({"generate", "--prompt", "Hi", "--adapter", "nobody"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(result.err, "shira: error: NOT_FOUND: No adapter 'nobody' [ADAPTER_NOT_FOUND]\n");
}

TEST_F(GenerateCommandTest, PrintsTheServersErrorAsTheOneJsonObject) {
  const CliResult result = Run({"generate", "--prompt", "Hi", "--adapter", "nobody", "--json"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.err, "");
  EXPECT_EQ(ParseOnly(result), Json({{"error",
                                      {{"code", "NOT_FOUND"},
                                       {"reason", "ADAPTER_NOT_FOUND"},
                                       {"message", "No adapter 'nobody'"},
                                       {"metadata", {{"name", "nobody"}}}}}}));
}

TEST_F(GenerateCommandTest, SaysWhenToTryAgain) {
  EXPECT_THAT(Run({"generate", "--prompt", "busy"}).err,
              HasSubstr("[QUEUE_FULL] (try again in 2.00 s)"));
  EXPECT_EQ(ParseOnly(Run({"generate", "--prompt", "busy", "--json"}))["error"]["retry_after_ms"],
            2000.0);
}

TEST_F(GenerateCommandTest, TakesADrainingServerForAnAnswer) {
  EXPECT_EQ(Run({"generate", "--prompt", "drain"}).exit_code, 1);
}

TEST_F(GenerateCommandTest, ExitsWith124AtTheDeadline) {
  EXPECT_EQ(Run({"generate", "--prompt", "forever", "--timeout", "0.1", "--no-stream"}).exit_code,
            124);
  const CliResult result = Run({"generate", "--prompt", "forever", "--timeout", "0.1", "--json"});
  EXPECT_EQ(result.exit_code, 124);
  EXPECT_EQ(ParseOnly(result)["error"]["code"], "DEADLINE_EXCEEDED");
}

TEST_F(GenerateCommandTest, CancelsTheCallOnInterrupt) {
  CliProcess process(WithServer({"generate", "--prompt", "forever"}));
  ASSERT_TRUE(process.ReadOutputUntil("la la la"));
  process.Interrupt();
  const CliResult result = process.Finish();
  EXPECT_EQ(result.exit_code, 130);
  EXPECT_EQ(result.err, "");
  EXPECT_TRUE(server_.WaitForCancelled(1));
}

TEST_F(GenerateCommandTest, EndsOnInterruptWhileItReadsThePrompt) {
  CliProcess process(WithServer({"generate", "--prompt", "-"}));
  process.WriteInput("not the end");
  process.Interrupt();
  EXPECT_EQ(process.Finish().exit_code, 130);
}

TEST_F(GenerateCommandTest, CancelsTheCallWhenTheReaderGoesAway) {
  CliProcess process(WithServer({"generate", "--prompt", "forever"}));
  ASSERT_TRUE(process.ReadOutputUntil("la"));
  process.CloseOutput();
  const CliResult result = process.Finish();
  EXPECT_EQ(result.exit_code, 141);
  EXPECT_EQ(result.err, "");
  EXPECT_TRUE(server_.WaitForCancelled(1));
}

TEST_F(GenerateCommandTest, RefusesWrongUsage) {
  const std::vector<std::vector<std::string>> wrong = {
      {"generate"},
      {"generate", "--prompt", "x", "--adapter", "pirate:heavy"},
      {"generate", "--prompt", "x", "--adapter", "pirate", "--base"},
      {"generate", "--prompt", "x", "--max-tokens", "many"},
      {"generate", "--prompt", "x", "--system", "without chat"},
      {"generate", "--prompt", "x", "--timeout", "0"},
      {"generate", "--prompt", "x", "--unknown"},
  };
  for (const std::vector<std::string>& arguments : wrong) {
    const CliResult result = Run(arguments);
    EXPECT_EQ(result.exit_code, 2) << ::testing::PrintToString(arguments);
    EXPECT_THAT(result.out, IsEmpty());
    EXPECT_THAT(result.err, HasSubstr("--help"));
  }
}

}  // namespace
}  // namespace shira::testing
