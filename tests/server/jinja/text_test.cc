#include "server/jinja/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>

namespace shira::jinja {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Optional;

TEST(JinjaTextTest, QuotesStringsAsPythonDoes) {
  EXPECT_EQ(ReprString("a"), "'a'");
  EXPECT_EQ(ReprString("it's"), "\"it's\"");
  EXPECT_EQ(ReprString("it's \"q\""), "'it\\'s \"q\"'");
  EXPECT_EQ(ReprString("\n\x07\u00ad\u200b\U000E0001é"), "'\\n\\x07\\xad\\u200b\\U000e0001é'");
}

TEST(JinjaTextTest, StripsTheWhiteSpaceThatPythonKnows) {
  EXPECT_EQ(Strip("\u00a0\u3000\x1c x \u2028", Side::kBoth), "x");
  EXPECT_EQ(Strip("\u200bx", Side::kBoth), "\u200bx");
  EXPECT_EQ(Strip(" x ", Side::kLeft), "x ");
  EXPECT_EQ(Strip("éxé", Side::kBoth, "é"), "x");
  EXPECT_EQ(Strip("\u3000", Side::kRight), "");
}

TEST(JinjaTextTest, SplitsFromBothEnds) {
  EXPECT_THAT(Split("  a \u3000 b c ", std::nullopt, -1), ElementsAre("a", "b", "c"));
  EXPECT_THAT(Split("  a  b c ", std::nullopt, 1), ElementsAre("a", "b c "));
  EXPECT_THAT(SplitFromRight("  a  b c ", std::nullopt, 1), ElementsAre("  a  b", "c"));
  EXPECT_THAT(Split("a,,b", ",", -1), ElementsAre("a", "", "b"));
  EXPECT_THAT(SplitFromRight("a,,b", ",", 1), ElementsAre("a,", "b"));
  EXPECT_THAT(Split("", std::nullopt, -1), IsEmpty());
  EXPECT_THAT(SplitLines("a\r\nb\u2028\n", false), ElementsAre("a", "b", ""));
}

TEST(JinjaTextTest, StopsReplacingAtTheBound) {
  EXPECT_THAT(Replace("aé", "", "-", -1, 100), Optional(std::string("-a-é-")));
  EXPECT_THAT(Replace("aaa", "a", "b", 2, 100), Optional(std::string("bba")));
  EXPECT_EQ(Replace("aaa", "a", "bbbb", -1, 11), std::nullopt);
}

TEST(JinjaTextTest, ChangesCaseByTheRulesOfUnicode) {
  EXPECT_EQ(Upper("straße"), "STRASSE");
  EXPECT_EQ(Lower("ΑΣ ΑΣΑ"), "ας ασα");
  EXPECT_EQ(Title("they're ǆ ΑΣ"), "They'Re ǅ Ας");
  EXPECT_EQ(Capitalize("ﬁX ΑΣ"), "Fix ας");
  EXPECT_EQ(SwapCase("aB ß"), "Ab SS");
}

}  // namespace
}  // namespace shira::jinja
