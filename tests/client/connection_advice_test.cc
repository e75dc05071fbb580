#include "client/connection_advice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/testutil/fake_server.h"

namespace shira {
namespace {

using ::shira::testing::FakeServer;
using ::testing::HasSubstr;
using ::testing::Not;

std::string OfTls(absl::string_view error) {
  return ConnectionAdvice("127.0.0.1:1", /*uses_tls=*/true,
                          absl::StrCat("failed to connect to all addresses; last error: UNKNOWN: "
                                       "ipv4:127.0.0.1:1: Ssl handshake failed: SSL_ERROR_SSL: ",
                                       error),
                          absl::Seconds(1));
}

TEST(ConnectionAdviceTest, AClientWithTlsLearnsWhatIsWrong) {
  EXPECT_THAT(OfTls("error:0A00010B:SSL routines::wrong version number"),
              HasSubstr("does not speak TLS"));
  EXPECT_THAT(OfTls("error:0A000086:SSL routines::certificate verify failed"),
              HasSubstr("--tls-ca FILE"));
  EXPECT_THAT(OfTls("error:0A00045C:SSL routines::tlsv13 alert certificate required"),
              HasSubstr("--tls-cert"));
  EXPECT_THAT(OfTls("something new"), HasSubstr("check that it runs"));
}

TEST(ConnectionAdviceTest, WhoHangsUpIsAskedWhetherItSpeaksTls) {
  FakeServer plain;
  EXPECT_THAT(
      ConnectionAdvice(plain.address(), /*uses_tls=*/false, "Socket closed", absl::Seconds(5)),
      Not(HasSubstr("TLS")));
  // Nobody is there to be asked, and nobody is.
  EXPECT_THAT(ConnectionAdvice("127.0.0.1:1", /*uses_tls=*/false, "Connection refused",
                               absl::InfiniteDuration()),
              HasSubstr("check that it runs"));
}

}  // namespace
}  // namespace shira
