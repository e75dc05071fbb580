#include "server/tokenizer/regex.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "server/tokenizer/gguf_pre_tokenizers.h"
#include "server/tokenizer/oniguruma_pattern.h"
#include "tests/testutil/status_matchers.h"

namespace shira {

// Names the test; the object's bytes would differ from run to run.
void PrintTo(const GgufPreTokenizer& rule, std::ostream* out) { *out << rule.name; }

namespace {

using ::shira::testing::IsOk;
using ::shira::testing::IsOkAndHolds;
using ::shira::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> Matches(const std::string& pattern, const std::string& text) {
  const absl::StatusOr<Regex> regex = Regex::Compile(pattern);
  EXPECT_THAT(regex, IsOk());
  std::vector<std::string> matches;
  if (!regex.ok()) return matches;
  const absl::StatusOr<std::vector<TextRange>> ranges = regex->FindAll(text);
  EXPECT_THAT(ranges, IsOk());
  for (const TextRange& range : *ranges)
    matches.push_back(text.substr(range.begin, range.end - range.begin));
  return matches;
}

TEST(RegexTest, WhiteSpaceIsUnicodesProperty) {
  EXPECT_THAT(Matches(R"(\s)", "a\u0085b\u00a0c\u3000d"),
              ElementsAre("\u0085", "\u00a0", "\u3000"));
  EXPECT_THAT(Matches(R"([^\s])", "\u180e \u200b"), ElementsAre("\u180e", "\u200b"));
}

// U+A7CB came with Unicode 16, U+2EBF0 with 15.1, U+1E4F0 with 15.
TEST(RegexTest, CharactersHaveTheClassesOfUnicode16) {
  EXPECT_THAT(Matches(R"(\p{L}+)", "a\ua7cb\U0002ebf0-"), ElementsAre("a\ua7cb\U0002ebf0"));
  EXPECT_THAT(Matches(R"([^\p{L}\s]+)", "a\ua7cb!\U0002ebf0 "), ElementsAre("!"));
  EXPECT_THAT(Matches(R"(\d|\p{Han})", "\U0001e4f0\ua7cb\U0002ebf0"),
              ElementsAre("\U0001e4f0", "\U0002ebf0"));
  EXPECT_THAT(Matches(R"(\p{Cn}|\P{L})", "\ua7cb\U0003ffff"), ElementsAre("\U0003ffff"));
}

TEST(RegexTest, ComplementsMayStandInAClass) {
  EXPECT_THAT(Matches(R"([\P{L}x])", "ax\ua7cb1"), ElementsAre("x", "1"));
  EXPECT_THAT(Matches(R"([^\P{L}x]+)", "axb\ua7cb\n1"), ElementsAre("a", "b\ua7cb"));
  EXPECT_THAT(Matches(R"([\W\D]{2}+)", "a1-b"), ElementsAre("-b"));
  EXPECT_THAT(Matches(R"([^^\W\D])", "^a1-"), ElementsAre("1"));
}

TEST(RegexTest, SuperscriptsAreOfWordsOutsideOfClassesOnly) {
  EXPECT_THAT(Matches(R"(\w+)", "a\u00b2\u2074"), ElementsAre("a\u00b2"));
  EXPECT_THAT(Matches(R"([\w]+)", "a\u00b2\u2074"), ElementsAre("a"));
}

TEST(RegexTest, AnIntervalWithPlusIsNotPossessive) {
  EXPECT_THAT(Matches(R"(\p{N}{1,3}+)", "1234567"), ElementsAre("1234567"));
  EXPECT_THAT(Matches(R"((?:ab){1,2}+b)", "ababb"), ElementsAre("ababb"));
  EXPECT_THAT(PcreFromOniguruma(R"(x[a-c]{2,3}+)"), IsOkAndHolds("x(?:[a-c]{2,3})+"));
  EXPECT_THAT(PcreFromOniguruma(R"(x(a(b)){2}+)"), IsOkAndHolds("x(?:(a(b)){2})+"));
}

TEST(RegexTest, EmptyMatchesDoNotRepeatThePreviousOne) {
  EXPECT_THAT(Matches("x*", "axxb"), ElementsAre("", "xx", ""));
}

TEST(RegexTest, LiteralTakesNoSyntax) {
  ASSERT_OK_AND_ASSIGN(const Regex regex, Regex::Literal(".*"));
  ASSERT_OK_AND_ASSIGN(const std::vector<TextRange> ranges, regex.FindAll("a.*b"));
  ASSERT_EQ(ranges.size(), 1u);
  EXPECT_EQ(ranges[0].begin, 1u);
}

TEST(RegexTest, RefusesWhatIsNoPattern) {
  for (const char* pattern :
       {"(", "[a", "a)", "*", "\\p{Nope}", "[b-a]", "[\\w-.]", "[!-\\p{L}]"}) {
    EXPECT_THAT(Regex::Compile(pattern),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(pattern)))
        << pattern;
  }
}

TEST(RegexTest, RefusesWhatPcreHasNoEqualOf) {
  for (const char* pattern : {"(a)\\1", "[[:alpha:]]", "[a&&]", "(?m:.)", "a(?i)b", "\\h", "\\R",
                              "\\X", "\\K", "\\G", "(?<name>a)", "a{2}?", "\\pL", "\\", "\\u12"}) {
    EXPECT_THAT(Regex::Compile(pattern),
                StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("offset")))
        << pattern;
  }
}

TEST(RegexTest, ClassesHoldComplementsClassesAndIntersections) {
  EXPECT_THAT(Matches(R"([\P{L}a]+)", "ab1a \u00e9!"), ElementsAre("a", "1a ", "!"));
  EXPECT_THAT(Matches(R"([^\P{L}b]+)", "ab1c"), ElementsAre("a", "c"));
  EXPECT_THAT(Matches("[a[bc]d]+", "abcdef"), ElementsAre("abcd"));
  EXPECT_THAT(Matches("[a-z&&[^aeiou]]+", "abcde"), ElementsAre("bcd"));
  EXPECT_THAT(Matches("[^a-z&&[^aeiou]]+", "abcde1"), ElementsAre("a", "e1"));
  EXPECT_THAT(Matches(R"([\p{Lu}&&\P{L}]|x)", "Ax"), ElementsAre("x"));
}

TEST(RegexTest, ALongRunOfAClassTakesNoMemory) {
  std::string text;
  while (text.size() < 4'000'000) text += "1\u3000!a";
  EXPECT_THAT(Matches(R"([\P{L}a]+)", text), ElementsAre(text));
}

TEST(RegexTest, KnowsTheMarksOfUnicode16) {
  EXPECT_THAT(Matches(R"(\p{Mn})", "\U0001171e\u0301"), ElementsAre("\u0301"));
  EXPECT_THAT(Matches(R"(\P{Mn})", "\U0001171e\u0301"), ElementsAre("\U0001171e"));
  EXPECT_THAT(Matches(R"([\p{Mn}a-b]+)", "b\u0301-"), ElementsAre("b\u0301"));
}

TEST(RegexTest, ReportsAMatchThatExceedsItsLimits) {
  ASSERT_OK_AND_ASSIGN(const Regex regex, Regex::Compile("(?:a|aa|b)*[cd]"));
  EXPECT_THAT(regex.FindAll(std::string(5000, 'a')),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("5000 bytes")));
}

// Each of the rules gets through long runs of what makes a bad pattern slow.
class LongTextTest : public ::testing::TestWithParam<GgufPreTokenizer> {};

TEST_P(LongTextTest, IsSplitWithoutLoss) {
  ASSERT_OK_AND_ASSIGN(const auto rule, MakeGgufPreTokenizer(GetParam()));
  for (const char* unit : {"a", "A", "aA", " ", "\n", " \n", "7", "!", "'", "\u4e00", "\u0301",
                           "\u3000", "a ", " 1"}) {
    std::string text;
    while (text.size() < 100'000) text += unit;
    for (const char* end : {"", "x", "!"}) {
      std::vector<TextPiece> pieces = {{text + end}};
      ASSERT_THAT(rule->Apply(pieces), IsOk()) << "'" << unit << "' and '" << end << "'";
      std::string joined;
      for (const TextPiece& piece : pieces) joined += piece.text;
      std::vector<TextPiece> whole = {{text + end}};
      ASSERT_THAT(PreTokenizer::ByteLevelAlphabet()->Apply(whole), IsOk());
      EXPECT_EQ(joined, whole[0].text);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EveryRule, LongTextTest,
                         ::testing::ValuesIn(GgufPreTokenizers().begin(),
                                             GgufPreTokenizers().end()),
                         [](const auto& info) {
                           std::string name(info.param.name);
                           for (char& c : name) {
                             if (!isalnum(static_cast<unsigned char>(c))) c = '_';
                           }
                           return name;
                         });

}  // namespace
}  // namespace shira
