#include "base/terminal/text_table.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

namespace shira {
namespace {

TEST(TextTableTest, WritesBytesInTheLargestUnitThatFits) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(1023), "1023 B");
  EXPECT_EQ(FormatBytes(1024), "1.0 KiB");
  EXPECT_EQ(FormatBytes(1024 * 1024 - 1), "1.0 MiB");
  EXPECT_EQ(FormatBytes(3663360), "3.5 MiB");
  EXPECT_EQ(FormatBytes(int64_t{7} << 30), "7.0 GiB");
  EXPECT_EQ(FormatBytes(std::numeric_limits<int64_t>::max()), "8192.0 PiB");
}

TEST(TextTableTest, GroupsDigitsByThree) {
  EXPECT_EQ(FormatCount(0), "0");
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatCount(1000), "1,000");
  EXPECT_EQ(FormatCount(-610560), "-610,560");
  EXPECT_EQ(FormatCount(-100), "-100");
  EXPECT_EQ(FormatCount(1234567), "1,234,567");
}

TEST(TextTableTest, AlignsTablesByTheWidestCell) {
  EXPECT_EQ(FormatTable({{"NAME"}, {"N", Align::kRight}, {"LAST"}},
                        {{"a", "1", ""}, {"grüße", "1000", "x"}}),
            "NAME      N  LAST\n"
            "a         1\n"
            "grüße  1000  x\n");
}

TEST(TextTableTest, AlignsTheValuesOfFields) {
  EXPECT_EQ(FormatFields({{"A", "1"}, {"Long", "2"}}), "A:    1\nLong: 2\n");
}

}  // namespace
}  // namespace shira
