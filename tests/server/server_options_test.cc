#include "server/server_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/testutil/status_matchers.h"
#include "tests/testutil/temp_folder.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::IsOkAndHolds;
using ::shira::testing::StatusIs;
using ::shira::testing::TempFolder;
using ::testing::AllOf;
using ::testing::HasSubstr;

using ::shira::testing::kInvalid;

TEST(ServerOptionsTest, LoopbackAndUnixSocketsAreLocal) {
  for (const char* local : {"127.0.0.1:50051", "127.8.9.10:0", "localhost:1", "[::1]:65535",
                            "unix:/run/shira.sock", "unix:relative"}) {
    EXPECT_THAT(IsLocalAddress(local), IsOkAndHolds(true)) << local;
  }
  for (const char* remote : {"0.0.0.0:50051", "[::]:50051", "10.0.0.1:1", "example.org:80",
                             "128.0.0.1:1", "127.0.0.1.example.org:1"}) {
    EXPECT_THAT(IsLocalAddress(remote), IsOkAndHolds(false)) << remote;
  }
}

TEST(ServerOptionsTest, WhatIsNoAddressIsRefused) {
  for (const std::string& wrong :
       {std::string(), std::string("50051"), std::string(":50051"), std::string("localhost:"),
        std::string("localhost:x"), std::string("localhost:65536"), std::string("localhost:-1"),
        std::string("::1:50051"), std::string("unix:"), "unix:" + std::string(200, 'p')}) {
    EXPECT_THAT(IsLocalAddress(wrong), StatusIs(kInvalid)) << wrong;
  }
}

TEST(ServerOptionsTest, RemoteAddressesNeedConsent) {
  ServerOptions options;
  options.listen = "0.0.0.0:50051";
  EXPECT_THAT(ValidateValues(options), StatusIs(kInvalid, HasSubstr("--insecure-listen-anywhere")));
  options.insecure_listen_anywhere = true;
  EXPECT_THAT(ValidateValues(options), IsOk());
}

TEST(ServerOptionsTest, TlsAndAuthenticationTogetherAreConsent) {
  ServerOptions options;
  options.listen = "0.0.0.0:50051";
  options.tls_certificate = options.tls_key = "/pem";
  EXPECT_THAT(ValidateValues(options), StatusIs(kInvalid, HasSubstr("--access-file")));
  options.access_file = "/access";
  EXPECT_THAT(ValidateValues(options), IsOk());
  options.access_file.clear();
  options.tls_client_ca = "/pem";
  EXPECT_THAT(ValidateValues(options), IsOk());

  options = ServerOptions();
  options.access_file = "/access";  // tokens in plain text
  options.listen = "0.0.0.0:50051";
  EXPECT_THAT(ValidateValues(options),
              StatusIs(kInvalid, HasSubstr("without encryption and authentication")));
  options.listen = "127.0.0.1:1";
  options.admin_listen = "0.0.0.0:50052";
  EXPECT_THAT(ValidateValues(options), StatusIs(kInvalid, HasSubstr("--admin-listen")));
  options.admin_listen.clear();
  options.http_listen = "0.0.0.0:8000";
  EXPECT_THAT(ValidateValues(options), StatusIs(kInvalid, HasSubstr("--http-listen")));
}

TEST(ServerOptionsTest, APortFileNeedsItsPort) {
  ServerOptions options;
  options.http_port_file = "/tmp/port";
  EXPECT_THAT(ValidateValues(options), StatusIs(kInvalid, HasSubstr("there is no --http-listen")));
  options.http_listen = "127.0.0.1:0";
  EXPECT_THAT(ValidateValues(options), IsOk());
}

TEST(ServerOptionsTest, MetricsBeyondThisMachineNeedConsentOfTheirOwn) {
  ServerOptions options;
  options.metrics_listen = "0.0.0.0:9464";
  options.insecure_listen_anywhere = true;
  EXPECT_THAT(ValidateValues(options),
              StatusIs(kInvalid, HasSubstr("--insecure-metrics-anywhere")));
  options.insecure_metrics_anywhere = true;
  EXPECT_THAT(ValidateValues(options), IsOk());
  options.metrics_listen = "unix:/x";
  EXPECT_THAT(ValidateValues(options), StatusIs(kInvalid, HasSubstr("HOST:PORT")));
}

TEST(ServerOptionsTest, HalvesOfTlsAreRefused) {
  const auto refuse = [](ServerOptions options, const char* says) {
    EXPECT_THAT(ValidateValues(options), StatusIs(kInvalid, HasSubstr(says)));
  };
  ServerOptions options;
  options.tls_certificate = "/pem";
  refuse(options, "--tls-key");
  options = ServerOptions();
  options.tls_client_ca = "/pem";
  refuse(options, "--tls-client-ca: needs --tls-cert");
  options = ServerOptions();
  options.tls_client_optional = true;
  refuse(options, "--tls-client-optional");
  options = ServerOptions();
  options.reload_interval = absl::Milliseconds(10);
  refuse(options, "--reload-interval");
}

TEST(ServerOptionsTest, EveryWrongValueIsListed) {
  ServerOptions options;
  options.listen = "nowhere";
  options.adapters = {{"base", "/a"}, {"tone", "/a"}, {"tone", "/b"}};
  options.threads = -1;
  options.max_queued = 0;
  options.max_running = 0;
  options.max_tokens = 0;
  options.max_queued_per_client = 0;
  options.max_prompt_tokens = -1;
  options.max_adapters = 0;
  options.max_adapter_entries = 0;
  options.drain_timeout = -absl::Seconds(1);
  options.drain_delay = -absl::Seconds(1);
  options.keepalive = absl::ZeroDuration();
  EXPECT_THAT(ValidateValues(options),
              StatusIs(kInvalid, AllOf(HasSubstr("--listen"), HasSubstr("base"),
                                       HasSubstr("'tone' occurs twice"), HasSubstr("--threads"),
                                       HasSubstr("--max-queued"), HasSubstr("--max-running"),
                                       HasSubstr("--max-tokens"), HasSubstr("--drain-timeout"),
                                       HasSubstr("--drain-delay"), HasSubstr("--keepalive"))));
  EXPECT_THAT(ValidateValues(options),
              StatusIs(kInvalid,
                       AllOf(HasSubstr("--max-queued-per-client"), HasSubstr("--max-prompt-tokens"),
                             HasSubstr("--max-adapters"), HasSubstr("--max-adapter-entries"))));
}

TEST(ServerOptionsTest, AnAdapterIsANameAndAPath) {
  ASSERT_OK_AND_ASSIGN(const NamedAdapter adapter, ParseNamedAdapter("a/b=/srv/x=y"));
  EXPECT_EQ(adapter.name, "a/b");
  EXPECT_EQ(adapter.path, "/srv/x=y");
  for (const char* wrong : {"", "a", "=", "a=", "=/srv"}) {
    EXPECT_THAT(ParseNamedAdapter(wrong), StatusIs(kInvalid)) << wrong;
  }
}

TEST(ServerOptionsTest, ResidentTypesHaveNames) {
  for (const char* name : {"float32", "bfloat16", "float16"}) {
    ASSERT_OK_AND_ASSIGN(const DType dtype, ParseResidentDType(name));
    EXPECT_EQ(ResidentDTypeName(dtype), name);
  }
  EXPECT_THAT(ParseResidentDType("int8"), StatusIs(kInvalid, HasSubstr("int8")));
}

TEST(ServerOptionsTest, PathsAreCheckedBeforeAnythingIsRead) {
  const TempFolder folder;
  const std::string file = folder.Write("model.gguf", "");
  ServerOptions options;
  options.model = file;
  options.port_file = folder.Path("port");
  EXPECT_THAT(CheckPaths(options), IsOk());

  options.model = folder.Path("nothing");
  EXPECT_THAT(CheckPaths(options), StatusIs(absl::StatusCode::kNotFound, HasSubstr("model")));
  options.model = file;
  for (const std::string& wrong : {folder.Path("nothing.jinja"), std::string(folder.path())}) {
    options.chat_template = wrong;
    EXPECT_THAT(CheckPaths(options), StatusIs(absl::StatusCode::kNotFound, HasSubstr(wrong)));
  }
  options.chat_template = file;
  EXPECT_THAT(CheckPaths(options), IsOk());
  options.adapter_roots = {file};
  EXPECT_THAT(CheckPaths(options),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("not a folder")));
  options.adapter_roots = {folder.path()};
  options.adapters = {{"tone", folder.Path("nothing")}};
  EXPECT_THAT(CheckPaths(options), StatusIs(absl::StatusCode::kNotFound, HasSubstr("tone")));
  options.adapters.clear();
  options.port_file = folder.Path("nothing/port");
  EXPECT_THAT(CheckPaths(options), StatusIs(absl::StatusCode::kNotFound, HasSubstr("port file")));
}

TEST(LifecycleOptionsTest, RefusesValuesThatMakeNoSense) {
  ServerOptions options;
  EXPECT_THAT(ValidateValues(options), IsOk());
  options.lifecycle.max_concurrent_loads = 0;
  options.lifecycle.keep_versions = -1;
  options.lifecycle.max_upload_bytes = options.lifecycle.upload_quota_bytes + 1;
  options.lifecycle.verify_interval = -absl::Seconds(1);
  EXPECT_THAT(ValidateValues(options),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("--max-concurrent-loads"), HasSubstr("--keep-versions"),
                             HasSubstr("--max-upload-mb"), HasSubstr("--verify-interval"))));
}

TEST(LifecycleOptionsTest, NamesFoldersThatAreNotThereAndStateFilesThatCannotBeRead) {
  const TempFolder folder;
  const auto check = [](LifecycleOptions options) { return CheckPaths(options); };
  EXPECT_THAT(check({}), IsOk());
  LifecycleOptions options;
  options.adapter_dirs = {folder.path(), folder.Path("absent")};
  EXPECT_THAT(check(options), StatusIs(absl::StatusCode::kNotFound, HasSubstr("/absent")));
  options = {};
  options.upload_dir = folder.Path("uploads");  // is made
  options.state_file = folder.Path("state.json");
  EXPECT_THAT(check(options), IsOk());
  options.upload_dir = folder.Path("absent/uploads");
  EXPECT_THAT(check(options), StatusIs(absl::StatusCode::kNotFound, HasSubstr("absent/uploads")));
  options = {};
  options.state_file = folder.Write("state.json", "{}");
  EXPECT_THAT(check(options), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("state.json")));
  options.state_file = folder.Path("absent/state.json");
  EXPECT_THAT(check(options), StatusIs(absl::StatusCode::kNotFound, HasSubstr("absent")));
}

}  // namespace
}  // namespace shira
