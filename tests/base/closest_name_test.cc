#include "base/closest_name.h"

#include <gtest/gtest.h>

namespace shira {
namespace {

const std::vector<std::string> kNames = {"generate", "chat", "tokenize", "adapter", "alias", "top"};

TEST(ClosestNameTest, FindsSlips) {
  EXPECT_EQ(ClosestName("genrate", kNames), "generate");   // left out
  EXPECT_EQ(ClosestName("adapteer", kNames), "adapter");   // inserted
  EXPECT_EQ(ClosestName("tokenise", kNames), "tokenize");  // replaced
  EXPECT_EQ(ClosestName("hcat", kNames), "chat");          // exchanged
  EXPECT_EQ(ClosestName("GENERATE", kNames), "generate");
  EXPECT_EQ(ClosestName("to", kNames), "top");
}

TEST(ClosestNameTest, FindsWhatWasAbbreviated) {
  EXPECT_EQ(ClosestName("gen", kNames), "generate");
  EXPECT_EQ(ClosestName("temp", {"top-p", "temperature"}), "temperature");
}

TEST(ClosestNameTest, PrefersTheNearestAndThenTheFirst) {
  EXPECT_EQ(ClosestName("pirates", {"pilates", "pirate", "pirated"}), "pilates");
  EXPECT_EQ(ClosestName("abcdef", {"abxxef", "abcxef"}), "abcxef");
}

TEST(ClosestNameTest, FindsNothingWhereNothingIsNear) {
  EXPECT_EQ(ClosestName("frobnicate", kNames), std::nullopt);
  EXPECT_EQ(ClosestName("", kNames), std::nullopt);
  EXPECT_EQ(ClosestName("x", {"a", "b"}), std::nullopt);
  EXPECT_EQ(ClosestName("chat", {}), std::nullopt);
}

TEST(ClosestNameTest, DoesNotCompareNamesWithoutBound) {
  const std::string long_name(300, 'a');
  EXPECT_EQ(ClosestName(long_name, {long_name}), std::nullopt);
  EXPECT_EQ(ClosestName("aaaa", {long_name}), std::nullopt);
}

}  // namespace
}  // namespace shira
