#include <gmock/gmock.h>

#include "tests/client/cli/cli_test_base.h"
#include "tests/testutil/temp_folder.h"

namespace shira::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

// Chat through pipes; chat_terminal_test.py has the terminal.
class ChatCommandTest : public CliTest {};

TEST_F(ChatCommandTest, AnswersLineByLine) {
  const CliResult result = Run({"chat"}, "Hi\n\nWho?\n");
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out, "You said: Hi\nYou said: Who?\n");
  EXPECT_EQ(result.err, "");
}

TEST_F(ChatCommandTest, SendsTheConversationSoFar) {
  Run({"chat", "--system", "Be brief.", "--max-tokens", "100"}, "Hi\nWho?");
  const v1::GenerateRequest request = server_.last_generate();
  EXPECT_EQ(request.stop().max_tokens(), 100);
  std::vector<std::string> messages;
  for (const v1::ChatMessage& message : request.chat().messages())
    messages.push_back(message.role() + ": " + message.content());
  EXPECT_THAT(messages, ::testing::ElementsAre("system: Be brief.", "user: Hi",
                                               "assistant: You said: Hi", "user: Who?"));
}

TEST_F(ChatCommandTest, SwitchesAdaptersInTheMiddle) {
  Load("pirate");
  Load("json");
  const Json json =
      RunJson({"chat", "--adapter", "pirate"}, "1\n/adapter json:0.5 pirate\n2\n/base\n3\n");
  ASSERT_EQ(json["turns"].size(), 3);
  EXPECT_EQ(json["turns"][0]["adapter"][0]["name"], "pirate");
  EXPECT_EQ(json["turns"][1]["adapter"].size(), 2);
  EXPECT_EQ(json["turns"][1]["adapter"][0]["weight"], 0.5);
  EXPECT_EQ(json["turns"][2]["adapter"].size(), 0);
  EXPECT_EQ(server_.last_generate().chat().messages_size(), 5);
}

TEST_F(ChatCommandTest, PrintsOneJsonObjectAtTheEnd) {
  const Json json = RunJson({"chat"}, "Hi\n");
  EXPECT_THAT(Keys(json), UnorderedElementsAre("messages", "turns"));
  EXPECT_EQ(json["messages"], Json({{{"role", "user"}, {"content", "Hi"}},
                                    {{"role", "assistant"}, {"content", "You said: Hi"}}}));
}

TEST_F(ChatCommandTest, ForgetsTheConversationButNotTheSystemMessage) {
  Run({"chat", "--system", "Be brief."}, "Hi\n/reset\nWho?\n");
  EXPECT_EQ(server_.last_generate().chat().messages_size(), 2);
  EXPECT_EQ(server_.last_generate().chat().messages(0).role(), "system");
}

TEST_F(ChatCommandTest, GoesOnWithAConversationFromFiles) {
  const TempFolder folder;
  const std::string messages = folder.Write(
      "messages.json", R"([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho",
      "reasoning_content": "r", "tool_calls": [{"type": "function", "function": {"name": "f",
      "arguments": {"z": 1, "a": [1.0]}}}], "other": [null]}])");
  const std::string tools = folder.Write("tools.json", "[{}]");
  const std::vector<std::string> arguments = {"chat", "--messages", messages, "--tools", tools};
  const Json json = RunJson(arguments, "1\n");
  EXPECT_EQ(server_.last_generate().chat().tools_json_size(), 1);
  ASSERT_EQ(json["messages"].size(), 4);
  EXPECT_EQ(json["messages"][1],
            Json::parse(R"({"role": "assistant", "content": "Ho", "reasoning_content": "r",
      "tool_calls": [{"type": "function", "function": {"name": "f",
      "arguments": {"z": 1, "a": [1.0]}}}], "other": [null]})"));
  // What is printed can be gone on with.
  const std::string again = folder.Write("again.json", json["messages"].dump());
  EXPECT_EQ(RunJson({"chat", "--messages", again}, "2\n")["messages"].size(), 6);
  Run(arguments, "1\n/reset\n2\n");
  EXPECT_EQ(server_.last_generate().chat().messages_size(), 3);
  EXPECT_EQ(server_.last_generate().chat().tools_json_size(), 1);
}

TEST_F(ChatCommandTest, StopsAtQuit) {
  EXPECT_EQ(Run({"chat"}, "Hi\n/quit\nWho?\n").out, "You said: Hi\n");
}

TEST_F(ChatCommandTest, PrintsHelp) {
  const CliResult result = Run({"chat"}, "/help\n");
  for (const char* command : {"/adapter NAME[:W]...", "/adapters", "/base", "/set [NAME VALUE]",
                              "/reset", "/help", "/quit"})
    EXPECT_THAT(result.err, HasSubstr(command));
}

TEST_F(ChatCommandTest, SaysFirstWhatTheCommandLineSays) {
  EXPECT_EQ(Run({"chat", "Hi", "there"}, "Who?\n").out, "You said: Hi there\nYou said: Who?\n");
  EXPECT_EQ(server_.last_generate().chat().messages_size(), 3);
}

TEST_F(ChatCommandTest, ListsAdaptersAndAliases) {
  EXPECT_THAT(Run({"chat"}, "/adapters\n").err, HasSubstr("has no adapters"));
  Load("pirate");
  Load("json");
  const CliResult result = Run({"chat", "--adapter", "json:0.5"}, "/adapters\n");
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("*  json"));
  EXPECT_THAT(result.err, HasSubstr("   pirate"));
}

TEST_F(ChatCommandTest, ChangesSettingsInTheMiddle) {
  const CliResult result = Run({"chat", "--temperature", "0.5"},
                               "Hi\n/set temperature 1.5\n/set max-tokens 50\n/set stop the end\n"
                               "/set\nHo\n");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("'the end'"));
  EXPECT_EQ(server_.last_generate().sampling().temperature(), 1.5f);
  EXPECT_EQ(server_.last_generate().stop().max_tokens(), 50);
  Run({"chat", "--temperature", "0.5"}, "/set temperature default\nHo\n");
  EXPECT_EQ(server_.last_generate().sampling().temperature(), 0);
  EXPECT_THAT(Run({"chat"}, "/set temprature 1\n").err, HasSubstr("did you mean temperature?"));
  EXPECT_EQ(Run({"chat"}, "/set temperature\n").exit_code, 1);
  EXPECT_THAT(Run({"chat"}, "/adaptr x\n").err, HasSubstr("did you mean /adapter?"));
}

TEST_F(ChatCommandTest, SaysATextWithASlashAfterTwoSlashes) {
  EXPECT_EQ(Run({"chat"}, "//help\n").out, "You said: /help\n");
}

TEST_F(ChatCommandTest, EndsWithTheFirstErrorWhenNobodySitsThere) {
  CliResult result = Run({"chat"}, "/adapter nobody\nHi\n");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("No adapter 'nobody'"));
  EXPECT_EQ(ParseOnly(Run({"chat", "--json"}, "Hi\nbusy\n"))["error"]["reason"], "QUEUE_FULL");
  for (const char* wrong : {"/nonsense\n", "/adapter a:b\n", "/quit now\n"}) {
    result = Run({"chat"}, wrong);
    EXPECT_EQ(result.exit_code, 1) << wrong;
    EXPECT_THAT(result.err, HasSubstr("INVALID_ARGUMENT")) << wrong;
  }
}

TEST_F(ChatCommandTest, EndsOnInterruptWhenNobodySitsThere) {
  CliProcess waiting(WithServer({"chat"}));
  waiting.WriteInput("Hi\n");
  ASSERT_TRUE(waiting.ReadOutputUntil("Hi\n"));
  waiting.Interrupt();
  EXPECT_EQ(waiting.Finish().exit_code, 130);

  CliProcess answering(WithServer({"chat"}));
  answering.WriteInput("forever\n");
  ASSERT_TRUE(answering.ReadOutputUntil("la"));
  answering.Interrupt();
  EXPECT_EQ(answering.Finish().exit_code, 130);
  EXPECT_TRUE(server_.WaitForCancelled(1));
}

TEST_F(ChatCommandTest, EndsWhenTheReaderGoesAway) {
  CliProcess process(WithServer({"chat"}));
  process.WriteInput("forever\n");
  ASSERT_TRUE(process.ReadOutputUntil("la"));
  process.CloseOutput();
  EXPECT_EQ(process.Finish().exit_code, 141);
}

}  // namespace
}  // namespace shira::testing
