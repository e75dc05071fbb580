#include "server/jinja/numbers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <optional>

namespace shira::jinja {
namespace {

using ::testing::Optional;

TEST(JinjaNumbersTest, WritesFloatsAsPythonDoes) {
  EXPECT_EQ(ReprFloat(1), "1.0");
  EXPECT_EQ(ReprFloat(-0.0), "-0.0");
  EXPECT_EQ(ReprFloat(0.1 + 0.2), "0.30000000000000004");
  EXPECT_EQ(ReprFloat(1e15), "1000000000000000.0");
  EXPECT_EQ(ReprFloat(1e16), "1e+16");
  EXPECT_EQ(ReprFloat(0.0001), "0.0001");
  EXPECT_EQ(ReprFloat(1.5e-5), "1.5e-05");
  EXPECT_EQ(ReprFloat(-std::numeric_limits<double>::infinity()), "-inf");
}

TEST(JinjaNumbersTest, ReadsNumbersAsPythonDoes) {
  bool overflow = false;
  EXPECT_THAT(ParseInteger(" -1_000 ", 10, overflow), Optional(-1000));
  EXPECT_THAT(ParseInteger("0xff", 0, overflow), Optional(255));
  EXPECT_EQ(ParseInteger("1__0", 10, overflow), std::nullopt);
  EXPECT_EQ(ParseInteger("+-1", 10, overflow), std::nullopt);
  EXPECT_FALSE(overflow);
  EXPECT_EQ(ParseInteger("9223372036854775808", 10, overflow), std::nullopt);
  EXPECT_TRUE(overflow);
  EXPECT_THAT(ParseFloat("1_0.5e1"), Optional(105.0));
  EXPECT_THAT(ParseFloat("-Infinity"), Optional(-std::numeric_limits<double>::infinity()));
  EXPECT_EQ(ParseFloat("0x1"), std::nullopt);
  EXPECT_EQ(ParseFloat("1e"), std::nullopt);
}

}  // namespace
}  // namespace shira::jinja
