#include "server/tokenizer/utf8.h"

#include <gtest/gtest.h>

namespace shira {
namespace {

TEST(Utf8Test, FindsTheFirstInvalidByte) {
  EXPECT_EQ(FirstInvalidUtf8(""), std::nullopt);
  EXPECT_EQ(FirstInvalidUtf8("a\u00e9\u4e00\U0001f600"), std::nullopt);
  EXPECT_EQ(FirstInvalidUtf8("ab\xff"), 2u);
  EXPECT_EQ(FirstInvalidUtf8("a\xc3"), 1u);             // cut off
  EXPECT_EQ(FirstInvalidUtf8("\xc0\x80"), 0u);          // overlong
  EXPECT_EQ(FirstInvalidUtf8("x\xed\xa0\x80"), 1u);     // surrogate
  EXPECT_EQ(FirstInvalidUtf8("\xf4\x90\x80\x80"), 0u);  // past U+10FFFF
}

// Expected values: bytes.decode("utf-8", errors="replace") of Python.
TEST(Utf8Test, ReplacesEachMaximalPartOfAnIllFormedSequence) {
  EXPECT_EQ(ReplaceInvalidUtf8("a\xf0\x9f\x98z"), "a\ufffdz");
  EXPECT_EQ(ReplaceInvalidUtf8("\xf0\x9f\x98"), "\ufffd");
  EXPECT_EQ(ReplaceInvalidUtf8("\xe0\x80\x80"), "\ufffd\ufffd\ufffd");
  EXPECT_EQ(ReplaceInvalidUtf8("\xed\xa0\x80"), "\ufffd\ufffd\ufffd");
  EXPECT_EQ(ReplaceInvalidUtf8("\xf4\x90\x80\x80"), "\ufffd\ufffd\ufffd\ufffd");
  EXPECT_EQ(ReplaceInvalidUtf8("\xc3\xc3\xa9\xff"), "\ufffd\u00e9\ufffd");
  EXPECT_EQ(ReplaceInvalidUtf8("\xe4\xb8\xe4\xb8\x80"), "\ufffd\u4e00");
}

TEST(Utf8Test, MeasuresAnUnfinishedCharacterAtTheEnd) {
  EXPECT_EQ(UnfinishedUtf8Suffix(""), 0u);
  EXPECT_EQ(UnfinishedUtf8Suffix("a\u00e9"), 0u);
  EXPECT_EQ(UnfinishedUtf8Suffix("a\xc3"), 1u);
  EXPECT_EQ(UnfinishedUtf8Suffix("\xe4\xb8"), 2u);
  EXPECT_EQ(UnfinishedUtf8Suffix("\U0001f600\xf0\x9f\x98"), 3u);
  EXPECT_EQ(UnfinishedUtf8Suffix("\xff"), 0u);
  EXPECT_EQ(UnfinishedUtf8Suffix("\x80"), 0u);
  EXPECT_EQ(UnfinishedUtf8Suffix("\xe0\x80"), 0u);  // nothing can complete it
  EXPECT_EQ(UnfinishedUtf8Suffix("\xed\xa0"), 0u);
}

TEST(Utf8Test, WalksBothWays) {
  const std::string_view text = "a\u00e9\u4e00";
  size_t offset = 1;
  EXPECT_EQ(NextCharacter(text, &offset), 0xE9u);
  EXPECT_EQ(offset, 3u);
  EXPECT_EQ(PreviousCharacter(text, 3), 0xE9u);
  EXPECT_EQ(PreviousCharacter(text, text.size()), 0x4E00u);
}

}  // namespace
}  // namespace shira
