#include "client/cli/server_address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace shira::cli {
namespace {

using ::testing::HasSubstr;

std::string Target(const std::string& text) {
  const absl::StatusOr<ServerAddress> address = ParseServerAddress(text);
  return address.ok() ? address->target : std::string(address.status().message());
}

TEST(ServerAddressTest, CompletesWhatIsMissing) {
  const std::vector<std::pair<const char*, const char*>> addresses = {
      {"127.0.0.1:50051", "127.0.0.1:50051"},
      {"127.0.0.1", "127.0.0.1:50051"},
      {"localhost", "localhost:50051"},
      {"shira-0.shira.svc", "shira-0.shira.svc:50051"},
      {"8080", "127.0.0.1:8080"},
      {":8080", "127.0.0.1:8080"},
      {"[::1]:7", "[::1]:7"},
      {"[::1]", "[::1]:50051"},
      {"::1", "[::1]:50051"},
      {" 127.0.0.1:1 ", "127.0.0.1:1"},
  };
  for (const auto& [text, target] : addresses) EXPECT_EQ(Target(text), target) << text;
}

TEST(ServerAddressTest, TakesWhatWasCopiedFromABrowser) {
  EXPECT_EQ(Target("http://127.0.0.1:50051/"), "127.0.0.1:50051");
  EXPECT_EQ(Target("http://127.0.0.1"), "127.0.0.1:50051");
  EXPECT_FALSE(ParseServerAddress("http://host:1")->tls);
  EXPECT_EQ(Target("https://host:443"), "host:443");
  EXPECT_TRUE(ParseServerAddress("https://host:443")->tls);
}

TEST(ServerAddressTest, LeavesGrpcsOwnTargetsAlone) {
  for (const char* target : {"unix:/run/shira.sock", "unix:///run/shira.sock", "dns:///host:1",
                             "dns://8.8.8.8/host", "ipv4:10.0.0.1:1,10.0.0.2:1", "ipv6:[::1]:1"}) {
    EXPECT_EQ(Target(target), target);
    EXPECT_FALSE(ParseServerAddress(target)->tls);
  }
}

TEST(ServerAddressTest, SaysWhatWasExpected) {
  for (const char* wrong :
       {"", " ", "host:", "host:0", "host:99999", "host:port", "ho st:1", "[::1", "[::1]x", "[x]:1",
        "http://host:1/v1", "ftp://host:1", "/run/shira.sock", "a:b:1", "99999", "user@host:1"}) {
    const absl::StatusOr<ServerAddress> address = ParseServerAddress(wrong);
    EXPECT_FALSE(address.ok()) << wrong;
    EXPECT_THAT(std::string(address.status().message()), HasSubstr("expected HOST:PORT")) << wrong;
  }
  EXPECT_THAT(Target("/run/shira.sock"), HasSubstr("did you mean unix:/run/shira.sock?"));
}

}  // namespace
}  // namespace shira::cli
