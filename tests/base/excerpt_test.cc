#include "base/excerpt.h"

#include <gtest/gtest.h>

namespace shira {
namespace {

TEST(ExcerptTest, ShortTextStaysAsItIs) {
  EXPECT_EQ(Excerpt("", 9), "");
  EXPECT_EQ(Excerpt("123456789", 9), "123456789");
}

TEST(ExcerptTest, OfLongTextBeginningAndEndAreThere) {
  EXPECT_EQ(Excerpt("1234567890", 9), "123456... (1 bytes left out) ...890");
  const std::string huge = "tensor '" + std::string(10'000'000, 'x') + "': expected 2, found 3";
  EXPECT_LT(Excerpt(huge, 300).size(), 340u);
  EXPECT_TRUE(Excerpt(huge, 300).ends_with("': expected 2, found 3"));
}

TEST(ExcerptTest, CutsNoCharacterApart) {
  const std::string text = "\u00e4\u00e4\u00e4\u00e4\u00e4\u00e4";  // 12 bytes
  EXPECT_EQ(Excerpt(text, 11), "\u00e4\u00e4\u00e4\u00e4... (2 bytes left out) ...\u00e4");
  EXPECT_EQ(Excerpt(text, 1), "... (12 bytes left out) ...");
}

TEST(ExcerptTest, NeedNotBeUtf8) {
  const std::string text(20, '\x80');
  EXPECT_EQ(Excerpt(text, 9), "... (20 bytes left out) ...");
}

}  // namespace
}  // namespace shira
