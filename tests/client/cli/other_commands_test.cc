#include <gmock/gmock.h>

#include "tests/client/cli/cli_test_base.h"
#include "tests/testutil/temp_folder.h"

namespace shira::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

class OtherCommandsTest : public CliTest {};

TEST_F(OtherCommandsTest, Tokenizes) {
  EXPECT_EQ(Run({"tokenize", "aé"}).out, "97 233\n");
  EXPECT_EQ(Run({"tokenize", "-", "--omit-special-tokens", "--plain-text"}, "ab").out, "97 98\n");
  EXPECT_TRUE(server_.last_tokenize().omit_special_tokens());
  EXPECT_TRUE(server_.last_tokenize().plain_text());
  EXPECT_EQ(Run({"tokenize"}, "ab\n").out, "97 98 10\n");
  EXPECT_EQ(RunJson({"tokenize", "aé"}), Json({{"ids", {97, 233}}, {"text", "aé"}}));
}

TEST_F(OtherCommandsTest, TokenizesAConversation) {
  const TempFolder folder;
  const std::string file = folder.Write("m.json", R"([{"role": "user", "content": "Hi"}])");
  EXPECT_EQ(Run({"tokenize", "--messages", file, "--system", "s"}).exit_code, 0);
  EXPECT_EQ(server_.last_tokenize().chat().messages_size(), 2);
  EXPECT_EQ(Run({"tokenize", "--messages", file, "text"}).exit_code, 2);
  EXPECT_EQ(Run({"tokenize", "--system", "s", "text"}).exit_code, 2);
}

TEST_F(OtherCommandsTest, TokenizesATextThatIsNamedLikeACommand) {
  EXPECT_EQ(RunJson({"tokenize", "status"})["text"], "status");
}

TEST_F(OtherCommandsTest, Detokenizes) {
  EXPECT_EQ(Run({"detokenize", "97", "233", "--skip-special-tokens"}).out, "aé\n");
  EXPECT_THAT(server_.last_detokenize().ids(), ElementsAre(97, 233));
  EXPECT_TRUE(server_.last_detokenize().skip_special_tokens());
  EXPECT_EQ(RunJson({"detokenize", "97", "233"}), Json({{"text", "aé"}}));
  EXPECT_EQ(Run({"detokenize", "x"}).exit_code, 2);
}

TEST_F(OtherCommandsTest, VerifiesTheBase) {
  const CliResult result = Run({"verify"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.out, HasSubstr("State: base\nAll 2 parameters are what this state makes of "
                                    "the base, and equal the base.\n"));
  const Json json = RunJson({"verify"});
  EXPECT_THAT(Keys(json), UnorderedElementsAre("state", "parameters", "matches_base",
                                               "matches_expected", "hashes"));
  EXPECT_THAT(Keys(json["hashes"]), UnorderedElementsAre("base", "expected"));
  EXPECT_EQ(json["matches_base"], true);
  EXPECT_EQ(json["matches_expected"], true);
  EXPECT_EQ(json["parameters"], json["hashes"]["base"]);
  EXPECT_EQ(json["parameters"]["model.layers.0.self_attn.q_proj.weight"].get<std::string>().size(),
            64);
}

TEST_F(OtherCommandsTest, VerifiesAnAdaptedState) {
  Load("pirate");
  Run({"adapter", "apply", "pirate"});
  EXPECT_THAT(Run({"verify"}).out, HasSubstr("adapted, as expected"));
  const Json json = RunJson({"verify"});
  EXPECT_EQ(json["state"]["adapters"][0]["name"], "pirate");
  EXPECT_EQ(json["matches_base"], false);
  EXPECT_EQ(json["parameters"], json["hashes"]["expected"]);
  EXPECT_NE(json["parameters"], json["hashes"]["base"]);
}

TEST_F(OtherCommandsTest, ExitsWith4WhenTheWeightsAreDamaged) {
  server_.Damage();
  CliResult result = Run({"verify"});
  EXPECT_EQ(result.exit_code, 4);
  EXPECT_THAT(result.out, HasSubstr("MISMATCH"));
  EXPECT_THAT(result.out, HasSubstr("1 of 2 parameters are NOT"));
  result = Run({"verify", "--json"});
  EXPECT_EQ(result.exit_code, 4);
  EXPECT_EQ(ParseOnly(result)["matches_expected"], false);
}

TEST_F(OtherCommandsTest, ShowsTheStatus) {
  Load("pirate");
  Run({"adapter", "apply", "pirate:0.5"});
  const CliResult result = Run({"status"});
  EXPECT_EQ(result.exit_code, 0);
  for (const char* line :
       {"Health:         SERVING\n", "State:          SERVING\n",
        "Resident:       pirate v1 (weight 0.5)\n", "Default:        pirate v1 (weight 0.5)\n",
        "Switches:       1 in ", "Requests:       2 running, 3 queued"}) {
    EXPECT_THAT(result.out, HasSubstr(line));
  }
  const Json json = RunJson({"status"});
  EXPECT_THAT(Keys(json), UnorderedElementsAre("server", "health", "state", "server_version",
                                               "uptime_ms", "model", "generations", "adapter_loads",
                                               "memory", "adapters", "resident", "default",
                                               "switches", "switch_ms", "damaged_parameters"));
  EXPECT_THAT(Keys(json["resident"]), UnorderedElementsAre("adapters", "digest"));
  EXPECT_EQ(json["adapters"]["ready"], 1);
}

TEST_F(OtherCommandsTest, StatusExitsWith3WhenTheServerDoesNotServe) {
  server_.SetServing(false);
  const CliResult result = Run({"status", "--json"});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_EQ(ParseOnly(result)["health"], "NOT_SERVING");
}

TEST_F(OtherCommandsTest, TopShowsRatesFromTheSecondLookOn) {
  const CliResult result = Run({"top", "--interval", "0.01", "--count", "2"});
  EXPECT_EQ(result.exit_code, 0);
  // The fake server's second comes with every look, and ten tokens with it.
  EXPECT_THAT(result.out, HasSubstr("10.0/s tokens generated"));
  EXPECT_EQ(result.out.find("Now:"), result.out.rfind("Now:"));
  EXPECT_THAT(result.out, HasSubstr("pirate         2        3\n"));
  const Json json = RunJson({"top", "--interval", "0.01"});
  EXPECT_EQ(json["rates"]["generated_tokens_per_s"], 10.0);
  EXPECT_EQ(json["rates"]["drafted_tokens_per_s"], 8.0);
  EXPECT_EQ(json["rates"]["accepted_tokens_per_s"], 6.0);
}

TEST_F(OtherCommandsTest, TopShowsHowManyDraftsAreAccepted) {
  EXPECT_THAT(Run({"top", "--count", "1"}).out, HasSubstr("6 of 8 tokens accepted (75.0 %)"));
  const Json json = RunJson({"status"});
  EXPECT_EQ(json["generations"]["drafted_tokens"], 16);
  EXPECT_EQ(json["generations"]["accepted_tokens"], 12);
}

TEST(CliTokenTest, StatusNeedsNoTokenToSayWhetherTheServerServes) {
  const FakeServer server({.token = "the-token"});
  const auto run = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--server", server.address()});
    return RunCli(arguments);
  };
  const CliResult refused = run({"status"});
  EXPECT_EQ(refused.exit_code, 0);
  EXPECT_THAT(refused.out, HasSubstr("not for this token"));
  EXPECT_EQ(run({"top", "--count", "1"}).exit_code, 1);

  const TempFolder folder;
  const std::string file = folder.Write("token", "the-token\n");
  EXPECT_THAT(run({"status", "--token-file", file}).out, HasSubstr("Requests:"));
  EXPECT_THAT(run({"status", "--token-file", folder.Write("other", "other\n")}).out,
              HasSubstr("not for this token"));
  EXPECT_EQ(run({"status", "--token-file", folder.Write("empty", "\n")}).exit_code, 1);
  EXPECT_EQ(run({"status", "--token-file", folder.Path("nothing")}).exit_code, 1);

  EXPECT_THAT(RunCli({"status", "--server", server.address()}, "", {"SHIRA_TOKEN=the-token"}).out,
              HasSubstr("Requests:"));
}

TEST(CliTokenTest, ATokenDoesNotLeaveThisMachineInPlainText) {
  const TempFolder folder;
  const std::string file = folder.Write("token", "the-token\n");
  CliResult result =
      RunCli({"status", "--server", "192.0.2.1:1", "--connect-timeout", "0", "--token-file", file});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("unencrypted"));
  result = RunCli({"status", "--tls-cert", file, "--connect-timeout", "0"});
  EXPECT_THAT(result.err, HasSubstr("needs its key"));
}

TEST_F(OtherCommandsTest, StatusNamesDamagedParameters) {
  server_.SetServing(false);
  server_.Damage();
  const CliResult result = Run({"status"});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.out, HasSubstr("Damaged:        model.layers.0.self_attn.q_proj.weight\n"));
  const CliResult json = Run({"status", "--json"});
  EXPECT_EQ(json.exit_code, 3);
  EXPECT_EQ(ParseOnly(json)["damaged_parameters"],
            Json::array({"model.layers.0.self_attn.q_proj.weight"}));
}

TEST_F(OtherCommandsTest, OtherCommandsWaitForTheServerToServe) {
  server_.SetServing(false);
  const CliResult result = Run({"model", "--connect-timeout", "0"});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.err, HasSubstr("does not serve"));

  CliProcess process(WithServer({"model", "--connect-timeout", "60"}));
  server_.SetServing(true);
  EXPECT_EQ(process.Finish().exit_code, 0);
}

TEST_F(OtherCommandsTest, CanBeInterruptedWhileItWaitsForTheServer) {
  server_.SetServing(false);
  CliProcess process(WithServer({"model", "--connect-timeout", "60"}));
  process.Interrupt();
  EXPECT_EQ(process.Finish().exit_code, 130);
}

TEST_F(OtherCommandsTest, ShowsTheModel) {
  const CliResult result = Run({"model"});
  EXPECT_THAT(result.out, HasSubstr("Parameters:     134,515,008\n"));
  EXPECT_THAT(result.out, HasSubstr("Weights:        256.6 MiB in bfloat16\n"));
  EXPECT_THAT(
      Keys(RunJson({"model"})),
      UnorderedElementsAre("name", "architecture", "parameter_count", "dtype", "weight_bytes",
                           "vocab_size", "context_length", "num_layers", "hidden_size",
                           "eos_token_ids", "has_chat_template", "base_digest", "server_version"));
}

TEST_F(OtherCommandsTest, TakesTheServerFromOptionBeforeEnvironment) {
  EXPECT_EQ(RunCli({"model"}, "", {"SHIRA_SERVER=" + server_.address()}).exit_code, 0);
  for (const bool option_first : {false, true}) {
    std::vector<std::string> arguments = {"--server", server_.address()};
    arguments.insert(option_first ? arguments.end() : arguments.begin(), "model");
    EXPECT_EQ(RunCli(arguments, "", {"SHIRA_SERVER=127.0.0.1:1"}).exit_code, 0);
  }
}

TEST_F(OtherCommandsTest, WritesNoEscapesIntoAPipe) {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{"verify"}, {"generate", "--prompt", "busy", "-v"}}) {
    const CliResult result = RunCli(WithServer(arguments), "", {"TERM=xterm"});
    EXPECT_EQ((result.out + result.err).find('\x1b'), std::string::npos);
  }
}

TEST(CliWithoutServerTest, ExitsWith3) {
  int port = 0;
  {
    const FakeServer server;
    port = server.port();
  }
  const std::string address = absl::StrCat("127.0.0.1:", port);
  CliResult result = RunCli({"status", "--server", address, "--connect-timeout", "0"});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.err, HasSubstr(address));
  EXPECT_THAT(result.err, HasSubstr("Start one with 'shira-server --model FOLDER'"));
  result = RunCli({"verify", "--server", address, "--connect-timeout", "0", "--json"});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_EQ(ParseOnly(result)["error"]["code"], "UNAVAILABLE");
}

TEST(CliWithoutServerTest, PrintsItsVersionAndHelp) {
  EXPECT_THAT(RunCli({"--version"}).out,
              ::testing::MatchesRegex("shira [0-9]+\\.[0-9]+\\.[0-9]+\n"));
  const CliResult help = RunCli({"generate", "--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.out, StartsWith("Generate text"));
  EXPECT_EQ(RunCli({}).exit_code, 2);
  EXPECT_THAT(RunCli({}).out, HasSubstr("Usage: shira"));
  EXPECT_EQ(RunCli({"help", "status"}).out, RunCli({"status", "--help"}).out);
  EXPECT_EQ(RunCli({"status"}, "", {"SHIRA_SERVER=nobody:"}).exit_code, 2);
}

}  // namespace
}  // namespace shira::testing
