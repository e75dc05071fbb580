#include "server/server_flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <vector>

#include "base/strings.h"
#include "tests/testutil/status_matchers.h"
#include "tests/testutil/temp_folder.h"

namespace shira {
namespace {

using ::shira::testing::StatusIs;
using ::shira::testing::TempFolder;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using ::shira::testing::kInvalid;

absl::StatusOr<CommandLine> Parse(const std::vector<std::string>& flags) {
  std::vector<const char*> argv = {"shira-server"};
  for (const std::string& flag : flags) argv.push_back(flag.c_str());
  return ParseCommandLine(static_cast<int>(argv.size()), argv.data());
}

class ServerFlagsTest : public ::testing::Test {
 protected:
  std::string Config(std::string_view text) { return folder_.Write("config.toml", text); }

  const TempFolder folder_;
};

TEST_F(ServerFlagsTest, FlagsWinOverTheFile) {
  const std::string config = Config(
      "model = \"/m\"\nmax-tokens = 7\nlog-prompts = true\nadapter-root = [\"/a\", \"/b c\"]\n"
      "drain-timeout = 1.5\n"
      "drain-delay = 0.5\n");
  ASSERT_OK_AND_ASSIGN(const CommandLine from_file, Parse({"--config", config}));
  EXPECT_EQ(from_file.action, CommandLine::Action::kServe);
  EXPECT_EQ(from_file.options.model, "/m");
  EXPECT_EQ(from_file.options.max_tokens, 7);
  EXPECT_TRUE(from_file.options.log_prompts);
  EXPECT_THAT(from_file.options.adapter_roots, ElementsAre("/a", "/b c"));
  EXPECT_EQ(from_file.options.drain_timeout, absl::Milliseconds(1500));
  EXPECT_EQ(from_file.options.drain_delay, absl::Milliseconds(500));

  ASSERT_OK_AND_ASSIGN(const CommandLine flags,
                       Parse({"--max-tokens", "9", "--config", config, "--adapter-root", "/q"}));
  EXPECT_EQ(flags.options.max_tokens, 9);
  EXPECT_THAT(flags.options.adapter_roots, ElementsAre("/q"));
  EXPECT_EQ(flags.options.model, "/m");
}

TEST_F(ServerFlagsTest, AFileMayBeginWithAByteOrderMark) {
  for (const char* text : {"model = \"/m\"\n", "# first\nmodel = \"/m\""}) {
    ASSERT_OK_AND_ASSIGN(const CommandLine line,
                         Parse({"--config", Config(std::string("\xEF\xBB\xBF") + text)}));
    EXPECT_EQ(line.options.model, "/m");
  }
}

TEST_F(ServerFlagsTest, TheChatTemplateIsTheModelsUnlessAFileIsGiven) {
  ASSERT_OK_AND_ASSIGN(const CommandLine without, Parse({"--model", "/m"}));
  EXPECT_EQ(without.options.chat_template, "");
  ASSERT_OK_AND_ASSIGN(const CommandLine with,
                       Parse({"--model", "/m", "--chat-template", "/t.jinja"}));
  EXPECT_EQ(with.options.chat_template, "/t.jinja");
}

TEST_F(ServerFlagsTest, TheContextIsTheModelsUnlessItIsLimited) {
  ASSERT_OK_AND_ASSIGN(const CommandLine without, Parse({"--model", "/m"}));
  EXPECT_EQ(without.options.context_length, 0);
  ASSERT_OK_AND_ASSIGN(const CommandLine with,
                       Parse({"--model", "/m", "--context-length", "4096"}));
  EXPECT_EQ(with.options.context_length, 4096);
  EXPECT_THAT(Parse({"--model", "/m", "--context-length", "-1"}),
              StatusIs(kInvalid, HasSubstr("--context-length")));
}

TEST_F(ServerFlagsTest, LimitsOfTheNetworkHaveTheirUnits) {
  ASSERT_OK_AND_ASSIGN(const CommandLine line,
                       Parse({"--model", "/m", "--max-connections", "7",
                              "--max-calls-per-connection", "8", "--max-metadata-kb", "9"}));
  EXPECT_EQ(line.options.max_connections, 7);
  EXPECT_EQ(line.options.max_calls_per_connection, 8);
  EXPECT_EQ(line.options.max_metadata_bytes, 9 << 10);
  for (const char* flag :
       {"--max-connections", "--max-calls-per-connection", "--max-metadata-kb"}) {
    EXPECT_THAT(Parse({"--model", "/m", flag, "0"}), StatusIs(kInvalid, HasSubstr(flag)));
  }
}

TEST_F(ServerFlagsTest, WhatAFileMayNotHoldIsRefused) {
  const auto refused = [&](std::string_view text, std::string_view says) {
    EXPECT_THAT(Parse({"--model", "/m", "--config", Config(text)}),
                StatusIs(kInvalid, HasSubstr(std::string(says))))
        << text;
  };
  refused("no-such-key = 1\n", "unknown key: no-such-key");
  refused("[section]\nmax-tokens = 1\n", "unknown key");
  refused("max-tokens = many\n", "--max-tokens");
  refused("max-tokens = 1\nmax-tokens = 2\n", "--max-tokens");
  refused("log-prompts = perhaps\n", "--log-prompts");
  refused("dtype = \"int8\"\n", "--dtype");
  refused("print-config = true\n", "print-config");
  refused("config = \"other\"\n", "config");
  refused("max-queued = 0\n", "--max-queued");
  refused("max-queued = 1\nthreads = 2\nmax-queued = 3\n", "max-queued twice");
  refused("adapter-root = [/a, /b\n", "without its ]");
  refused("adapter-root = [\"/a\",\n", "without its ]");
  EXPECT_THAT(Parse({"--config", folder_.Path("nothing")}),
              StatusIs(kInvalid, HasSubstr("nothing")));
}

TEST_F(ServerFlagsTest, EveryFlagIsAKeyAndThePrintedConfigGivesItselfAgain) {
  ASSERT_OK_AND_ASSIGN(const CommandLine printed, Parse({"--model",
                                                         "/m",
                                                         "--adapter",
                                                         "a=/x",
                                                         "--adapter",
                                                         "b=/y z",
                                                         "--kv-cache-mb",
                                                         "77",
                                                         "--max-unread-mb",
                                                         "5",
                                                         "--tls-client-optional",
                                                         "--tls-cert",
                                                         "/c",
                                                         "--tls-key",
                                                         "/k",
                                                         "--tls-client-ca",
                                                         "/ca",
                                                         "--log-format",
                                                         "json",
                                                         "--keep-versions",
                                                         "3",
                                                         "--print-config"}));
  EXPECT_EQ(printed.action, CommandLine::Action::kPrint);
  ASSERT_OK_AND_ASSIGN(const CommandLine again,
                       Parse({"--config", Config(printed.text), "--print-config"}));
  EXPECT_EQ(again.text, printed.text);
  ASSERT_OK_AND_ASSIGN(const CommandLine serve, Parse({"--config", Config(printed.text)}));
  EXPECT_EQ(serve.options.adapters.size(), 2u);
  EXPECT_EQ(serve.options.adapters.at(1).path, "/y z");
  EXPECT_EQ(serve.options.kv_cache_bytes, int64_t{77} << 20);
  EXPECT_EQ(serve.options.max_unread_bytes, int64_t{5} << 20);
  EXPECT_TRUE(serve.options.tls_client_optional);
  EXPECT_TRUE(serve.options.log_json);
  EXPECT_EQ(serve.options.lifecycle.keep_versions, 3);

  ASSERT_OK_AND_ASSIGN(const CommandLine help, Parse({"--help"}));
  size_t flags = 0;
  for (size_t at = 0; (at = help.text.find("\n  --", at)) != std::string::npos; ++flags) {
    const size_t begin = at + 5;
    at = help.text.find_first_of(" \n,", begin);
    const std::string key = help.text.substr(begin, at - begin);
    if (key == "config" || key == "print-config" || key == "check-config" || key == "version") {
      continue;
    }
    // One that may be repeated and was not given is a comment.
    EXPECT_THAT(printed.text,
                AnyOf(HasSubstr(StrCat("\n", key, "=")), HasSubstr(StrCat("\n# ", key, "=[]\n"))))
        << key;
  }
  EXPECT_GT(flags, 30u);
}

TEST_F(ServerFlagsTest, WhatAConfigFileCannotHoldIsNotPrinted) {
  for (const char* path : {"/m#1", "/m\nlog-prompts = true", " 1", "/m \"'"}) {
    EXPECT_THAT(Parse({"--model", path, "--print-config"}),
                StatusIs(kInvalid, HasSubstr("cannot be written as a config file: ")))
        << path;
    EXPECT_TRUE(Parse({"--model", path}).ok());
  }
  for (const char* path : {"/m, n", "[/m]", "/m \"n\"", "it's", "\\", "0x10", "true", "; m", "="}) {
    ASSERT_OK_AND_ASSIGN(const CommandLine printed, Parse({"--model", path, "--print-config"}));
    ASSERT_OK_AND_ASSIGN(const CommandLine again, Parse({"--config", Config(printed.text)}));
    EXPECT_EQ(again.options.model, path);
  }
}

TEST_F(ServerFlagsTest, ThePrintedConfigHoldsNoSecret) {
  const std::string access = folder_.Write("access", "admin ops SECRET-SECRET-SECRET\n");
  ASSERT_OK_AND_ASSIGN(const CommandLine printed,
                       Parse({"--model", "/m", "--access-file", access, "--print-config"}));
  EXPECT_THAT(printed.text, HasSubstr(access));
  EXPECT_THAT(printed.text, ::testing::Not(HasSubstr("SECRET")));
}

TEST_F(ServerFlagsTest, APortAloneIsOnLoopback) {
  ASSERT_OK_AND_ASSIGN(
      const CommandLine command,
      Parse({"--model", "/m", "--listen", "8080", "--admin-listen", "8081", "--metrics-listen",
             "9464", "--http-listen", "8000", "--http-port-file", "/tmp/http"}));
  EXPECT_EQ(command.options.listen, "127.0.0.1:8080");
  EXPECT_EQ(command.options.http_listen, "127.0.0.1:8000");
  EXPECT_EQ(command.options.http_port_file, "/tmp/http");
  EXPECT_EQ(command.options.admin_listen, "127.0.0.1:8081");
  EXPECT_EQ(command.options.metrics_listen, "127.0.0.1:9464");
}

TEST_F(ServerFlagsTest, AHostAloneIsToldWhatIsMissing) {
  for (const char* address : {"127.0.0.1", "localhost", "http://127.0.0.1:8080", "99999"}) {
    EXPECT_THAT(Parse({"--model", "/m", "--listen", address}),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr("expected HOST:PORT, as in 127.0.0.1:50051")))
        << address;
  }
}

TEST_F(ServerFlagsTest, ASlipGetsASuggestion) {
  EXPECT_THAT(Parse({"--modle", "/m"}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("did you mean --model?")));
  EXPECT_THAT(
      Parse({"--model", "/m", "--adapter-rot=/a"}),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("did you mean --adapter-root?")));
  EXPECT_THAT(
      Parse({"--model", "/m", "--frobnicate"}),
      StatusIs(absl::StatusCode::kInvalidArgument, ::testing::Not(HasSubstr("did you mean"))));
}

}  // namespace
}  // namespace shira
