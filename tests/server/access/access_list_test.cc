#include "server/access/access_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/strings.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

using ::shira::testing::kInvalid;

TEST(AccessListTest, TokensMayBePlainOrHashed) {
  // echo -n hashed-hashed-hashed | sha256sum
  ASSERT_OK_AND_ASSIGN(
      const AccessList list,
      AccessList::Parse(
          StrCat("# comment\n\n  inference \t web  plain-plain-plain \r\n",
                 "admin,read-only ops sha256:", Sha256::Of("hashed-hashed-hashed").Hex(), "\n")));
  ASSERT_NE(list.FindToken("plain-plain-plain"), nullptr);
  EXPECT_EQ(list.FindToken("plain-plain-plain")->name, "web");
  EXPECT_EQ(list.FindToken("plain-plain-plain")->roles, RoleSet({Role::kInference}));
  ASSERT_NE(list.FindToken("hashed-hashed-hashed"), nullptr);
  EXPECT_EQ(list.FindToken("hashed-hashed-hashed")->name, "ops");
  EXPECT_EQ(list.FindToken("hashed-hashed-hashed")->roles,
            RoleSet({Role::kAdmin, Role::kReadOnly}));
  for (const char* wrong : {"", "plain", "plain-plain-plain ", "Plain-plain-plain", "web"}) {
    EXPECT_EQ(list.FindToken(wrong), nullptr) << wrong;
  }
  // A hash is no token: who reads the file cannot call.
  EXPECT_EQ(list.FindToken(Sha256::Of("hashed-hashed-hashed").Hex()), nullptr);
}

TEST(AccessListTest, PriorityIsARightOfARole) {
  const auto may = [](const char* roles) {
    return AccessList::Parse(StrCat(roles, " web plain-plain-plain"))
        ->FindToken("plain-plain-plain")
        ->roles.may_raise_priority();
  };
  EXPECT_FALSE(may("inference"));
  EXPECT_FALSE(may("inference,read-only"));
  EXPECT_TRUE(may("inference,priority"));
  EXPECT_TRUE(may("admin"));
  EXPECT_TRUE(RoleSet::All().may_raise_priority());
}

TEST(AccessListTest, CertificatesAreFoundByNameBeforeAnyOfThem) {
  ASSERT_OK_AND_ASSIGN(const AccessList list, AccessList::Parse("read-only everybody cert:*\n"
                                                                "admin ops cert:ops.example.org"));
  EXPECT_EQ(list.FindCertificate({"x", "ops.example.org"})->name, "ops");
  EXPECT_EQ(list.FindCertificate({"x"})->name, "everybody");
  ASSERT_OK_AND_ASSIGN(const AccessList strict, AccessList::Parse("admin ops cert:ops"));
  EXPECT_EQ(strict.FindCertificate({"ops.example.org"}), nullptr);
  EXPECT_EQ(strict.FindCertificate({}), nullptr);
}

TEST(AccessListTest, EveryBadLineIsListedAndNoCredentialRepeated) {
  const absl::Status status = AccessList::Parse(
                                  "operator ops token-token-token-1\n"
                                  "admin ops\n"
                                  "admin ops short-secret\n"
                                  "admin op;s token-token-token-2\n"
                                  "admin ops sha256:abc\n"
                                  "admin ops cert:\n"
                                  "admin ops token-token-token-3\n"
                                  "inference web token-token-token-3\n")
                                  .status();
  EXPECT_THAT(status, StatusIs(kInvalid, AllOf(HasSubstr("line 1"), HasSubstr("'operator'"),
                                               HasSubstr("line 2"), HasSubstr("found 2 fields"),
                                               HasSubstr("line 3"), HasSubstr("at least 16"),
                                               HasSubstr("line 4"), HasSubstr("line 5"),
                                               HasSubstr("64 hexadecimal"))));
  EXPECT_THAT(status, StatusIs(kInvalid, AllOf(HasSubstr("line 6"), Not(HasSubstr("line 7")),
                                               HasSubstr("line 8: the same token as that of ops"),
                                               Not(HasSubstr("token-token")),
                                               Not(HasSubstr("short-secret")))));
}

TEST(AccessListTest, AListThatLetsNobodyInIsRefused) {
  EXPECT_THAT(AccessList::Parse(""), StatusIs(kInvalid, HasSubstr("every call would be refused")));
  EXPECT_THAT(AccessList::Parse("# nothing\n"), StatusIs(kInvalid));
}

}  // namespace
}  // namespace shira
