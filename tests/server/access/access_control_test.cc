#include "server/access/access_control.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>

#include "absl/time/clock.h"
#include "tests/testutil/status_matchers.h"
#include "tests/testutil/temp_folder.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::shira::testing::TempFolder;
using ::testing::HasSubstr;

constexpr char kGenerate[] = "/shira.v1.Inference/Generate";
constexpr char kLoad[] = "/shira.v1.AdapterAdmin/LoadAdapter";
constexpr char kList[] = "/shira.v1.AdapterAdmin/ListAdapters";
constexpr char kHealth[] = "/grpc.health.v1.Health/Check";
constexpr auto kUnauthenticated = absl::StatusCode::kUnauthenticated;
constexpr auto kDenied = absl::StatusCode::kPermissionDenied;
constexpr auto kUnimplemented = absl::StatusCode::kUnimplemented;

class AccessControlTest : public ::testing::Test {
 protected:
  static std::unique_ptr<AccessControl> Make(AccessControl::Options options) {
    absl::StatusOr<std::unique_ptr<AccessControl>> control =
        AccessControl::Create(std::move(options));
    EXPECT_THAT(control.status(), IsOk());
    return *std::move(control);
  }

  const TempFolder folder_;
};

TEST_F(AccessControlTest, WithoutAFileEverybodyMayDoEverythingThatThereIs) {
  const auto control = Make({});
  EXPECT_THAT(control->Check(kLoad, {}), IsOk());
  EXPECT_THAT(control->Check(kGenerate, {.authorizations = {"Bearer whatever"}}), IsOk());
  EXPECT_THAT(control->Check("/shira.v1.AdapterAdmin/Forgotten", {}), StatusIs(kUnimplemented));
  EXPECT_THAT(control->Check("", {}), StatusIs(kUnimplemented));
}

TEST_F(AccessControlTest, ARoleOpensItsMethodsOnly) {
  const auto control = Make({.access_file = folder_.Write("access",
                                                          "inference web token-of-web-1234\n"
                                                          "read-only eye token-of-eye-1234\n"
                                                          "admin ops token-of-ops-1234\n")});
  const CallerCredentials web{.authorizations = {"Bearer token-of-web-1234"}};
  const CallerCredentials eye{.authorizations = {"bearer token-of-eye-1234"}};
  const CallerCredentials ops{.authorizations = {"Bearer token-of-ops-1234"}};
  EXPECT_THAT(control->Check(kGenerate, web), IsOk());
  EXPECT_THAT(control->Check(kList, web), StatusIs(kDenied, HasSubstr("read-only")));
  EXPECT_THAT(control->Check(kLoad, web), StatusIs(kDenied, HasSubstr("'web'")));
  EXPECT_THAT(control->Check(kGenerate, eye), StatusIs(kDenied));
  EXPECT_THAT(control->Check(kList, eye), IsOk());
  EXPECT_THAT(control->Check(kLoad, eye), StatusIs(kDenied));
  for (const char* method : {kGenerate, kList, kLoad, kHealth}) {
    EXPECT_THAT(control->Check(method, ops), IsOk()) << method;
  }
  EXPECT_THAT(control->Check("/shira.v1.Inference/Forgotten", ops), StatusIs(kUnimplemented));
}

TEST_F(AccessControlTest, WhoIsNotKnownGetsHealthAndNothingElse) {
  const auto control =
      Make({.access_file = folder_.Write("access", "inference web token-of-web-1234\n")});
  for (const char* header : {"", "Bearer ", "Bearer wrong", "Basic token-of-web-1234", "Bearer",
                             "token-of-web-1234", "Bearer  token-of-web-1234"}) {
    const CallerCredentials nobody{.authorizations = {header}};
    EXPECT_THAT(control->Check(kGenerate, nobody), StatusIs(kUnauthenticated)) << header;
    EXPECT_THAT(control->Check("/no.Such/Method", nobody), StatusIs(kUnauthenticated)) << header;
    EXPECT_THAT(control->Check(kHealth, nobody), IsOk()) << header;
  }
}

TEST_F(AccessControlTest, TwoAuthorizationHeadersAreNobodys) {
  const auto control =
      Make({.access_file = folder_.Write("access", "inference web token-of-web-1234\n")});
  const std::string_view web = "Bearer token-of-web-1234";
  for (const std::string_view other : {web, std::string_view("Bearer wrong"), std::string_view()}) {
    EXPECT_THAT(control->Check(kGenerate, {.authorizations = {web, other}}),
                StatusIs(kUnauthenticated, HasSubstr("more than one")));
    EXPECT_THAT(control->Check(kGenerate, {.authorizations = {other, web}}),
                StatusIs(kUnauthenticated));
  }
}

TEST_F(AccessControlTest, AFileCanBeReadAtOnce) {
  const std::string path = folder_.Write("access", "inference web token-of-web-1234\n");
  const auto control = Make({.access_file = path, .reload_interval = absl::Hours(1)});
  folder_.Write("access", "inference web token-of-web-5678\n");
  EXPECT_THAT(control->Reload(), IsOk());
  EXPECT_THAT(control->Check(kGenerate, {.authorizations = {"Bearer token-of-web-5678"}}), IsOk());
  folder_.Write("access", "nonsense\n");
  EXPECT_THAT(control->Reload(), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(control->Check(kGenerate, {.authorizations = {"Bearer token-of-web-5678"}}), IsOk());
  EXPECT_THAT(Make({})->Reload(), IsOk());
}

TEST_F(AccessControlTest, CertificatesCountOnlyWhereTlsVerifiesThem) {
  const std::string path = folder_.Write("access",
                                         "admin ops cert:ops.example.org\n"
                                         "inference web token-of-web-1234\n");
  EXPECT_THAT(AccessControl::Create({.access_file = path}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("--tls-client-ca")));
  const auto control = Make({.access_file = path, .client_certificates = true});
  EXPECT_THAT(control->Check(kLoad, {.certificate_names = {"ops.example.org"}}), IsOk());
  EXPECT_THAT(control->Check(kLoad, {.certificate_names = {"other"}}), StatusIs(kUnauthenticated));
  // A token speaks for the call, whatever the connection's certificate.
  EXPECT_THAT(control->Check(kLoad, {.authorizations = {"Bearer token-of-web-1234"},
                                     .certificate_names = {"ops.example.org"}}),
              StatusIs(kDenied));

  const auto no_file = Make({.client_certificates = true});
  EXPECT_THAT(no_file->Check(kLoad, {.certificate_names = {"anybody"}}), IsOk());
  EXPECT_THAT(no_file->Check(kLoad, {}), StatusIs(kUnauthenticated));
}

TEST_F(AccessControlTest, AChangedFileIsReadAgainUnlessItIsBad) {
  const std::string path = folder_.Write("access", "inference web token-of-web-1234\n");
  const auto control = Make({.access_file = path, .reload_interval = absl::Milliseconds(5)});
  const CallerCredentials old_token{.authorizations = {"Bearer token-of-web-1234"}};
  const CallerCredentials new_token{.authorizations = {"Bearer token-of-web-5678"}};
  const auto becomes = [&](const CallerCredentials& credentials, bool allowed) {
    for (int i = 0; i < 2000; ++i) {
      if (control->Check(kGenerate, credentials).ok() == allowed) return true;
      absl::SleepFor(absl::Milliseconds(5));
    }
    return false;
  };
  folder_.Write("access", "inference web token-of-web-5678\n");
  EXPECT_TRUE(becomes(new_token, true));
  EXPECT_THAT(control->Check(kGenerate, old_token), StatusIs(kUnauthenticated));

  folder_.Write("access", "nonsense\n");
  absl::SleepFor(absl::Milliseconds(50));
  EXPECT_THAT(control->Check(kGenerate, new_token), IsOk());
  std::filesystem::remove(path);
  absl::SleepFor(absl::Milliseconds(50));
  EXPECT_THAT(control->Check(kGenerate, new_token), IsOk());
  folder_.Write("access", "inference web token-of-web-1234\n");
  EXPECT_TRUE(becomes(old_token, true));
}

TEST_F(AccessControlTest, AFileThatCannotBeReadIsNamed) {
  EXPECT_THAT(AccessControl::Create({.access_file = folder_.Path("nothing")}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("nothing")));
  EXPECT_THAT(AccessControl::Create({.access_file = folder_.Write("bad", "x\n")}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("bad: bad access file")));
  EXPECT_THAT(
      AccessControl::Create({.access_file = folder_.Write("big", std::string(2 << 20, '#'))}),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("more than")));
}

}  // namespace
}  // namespace shira
