#include "server/catalog/adapter_name.h"

#include <string>

#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::testing::HasSubstr;

TEST(AdapterNameTest, AcceptsTheWholeAlphabet) {
  for (const char* name : {"a", "7", "Tone", "team/tone-v1.2_final", "based", "9.."}) {
    EXPECT_THAT(ValidateAdapterName(name), IsOk()) << name;
  }
  EXPECT_THAT(ValidateAdapterName(std::string(128, 'a')), IsOk());
}

TEST(AdapterNameTest, RefusesEverythingElse) {
  for (const std::string name : {"", ".a", "_a", "-a", "/a", "a b", "a\n", "a:b", "na\xc3\xafve"}) {
    EXPECT_THAT(ValidateAdapterName(name),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("1 to 128 characters")))
        << name;
  }
  EXPECT_THAT(ValidateAdapterName(std::string("a\0b", 3)),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(ValidateAdapterName(std::string(129, 'a')),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("129")));
}

TEST(AdapterNameTest, ReservesTheNameOfTheBase) {
  EXPECT_THAT(ValidateAdapterName("base"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("reserved")));
}

TEST(AdapterNameTest, QuotesABoundedAndPrintablePartOfABadName) {
  const std::string message(ValidateAdapterName(std::string(100'000, '\n')).message());
  EXPECT_LT(message.size(), 1000u);
  EXPECT_EQ(message.find('\n'), std::string::npos);
}

TEST(AdapterReferenceTest, AVersionFollowsAnAtSign) {
  EXPECT_EQ(ParseAdapterReference("team/tone")->name, "team/tone");
  EXPECT_EQ(ParseAdapterReference("team/tone")->version, std::nullopt);
  EXPECT_EQ(ParseAdapterReference("tone@12")->name, "tone");
  EXPECT_EQ(ParseAdapterReference("tone@12")->version, 12);
  EXPECT_EQ((AdapterVersion{"tone", 12}).ToString(), "tone@12");
}

TEST(AdapterReferenceTest, RefusesWhatIsNoVersion) {
  for (const char* text :
       {"tone@", "tone@0", "tone@-1", "tone@+1", "tone@ 1", "tone@1.5", "tone@1@2", "@x"}) {
    EXPECT_THAT(ParseAdapterReference(text).status(), StatusIs(absl::StatusCode::kInvalidArgument))
        << text;
  }
}

}  // namespace
}  // namespace shira
