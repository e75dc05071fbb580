#include "client/cli/format.h"

#include <gtest/gtest.h>

#include <vector>

#include "absl/time/time.h"

namespace shira::cli {
namespace {

TEST(FormatTest, WritesTimeSpansWithThreeDigits) {
  EXPECT_EQ(FormatTimeSpan(absl::ZeroDuration()), "0 ms");
  EXPECT_EQ(FormatTimeSpan(absl::Microseconds(2)), "0.002 ms");
  EXPECT_EQ(FormatTimeSpan(absl::Microseconds(2614)), "2.61 ms");
  EXPECT_EQ(FormatTimeSpan(absl::Milliseconds(999)), "999 ms");
  EXPECT_EQ(FormatTimeSpan(absl::Microseconds(999600)), "1.00 s");
  EXPECT_EQ(FormatTimeSpan(absl::Milliseconds(1250)), "1.25 s");
  EXPECT_EQ(FormatTimeSpan(absl::Milliseconds(12340)), "12.3 s");
  EXPECT_EQ(FormatTimeSpan(absl::Milliseconds(59970)), "1 min 0 s");
  EXPECT_EQ(FormatTimeSpan(absl::Seconds(185)), "3 min 5 s");
  EXPECT_EQ(FormatTimeSpan(absl::Seconds(7260)), "2 h 1 min");
}

TEST(FormatTest, NamesAStateByItsAdapters) {
  std::vector<v1::AdapterIdentity> adapters;
  EXPECT_EQ(FormatAdapters(adapters), "base");
  adapters.emplace_back().set_name("pirate");
  adapters.back().set_version(1);
  adapters.back().set_weight(1);
  EXPECT_EQ(FormatAdapters(adapters), "pirate v1");
  adapters.emplace_back().set_name("json");
  adapters.back().set_version(2);
  adapters.back().set_weight(-0.5);
  EXPECT_EQ(FormatAdapters(adapters), "pirate v1 + json v2 (weight -0.5)");
}

TEST(FormatTest, NamesEnumsWithoutTheirPrefix) {
  EXPECT_EQ(StateName(v1::ADAPTER_STATE_UNLOADING), "UNLOADING");
  EXPECT_EQ(ResidencyName(v1::ADAPTER_RESIDENCY_FUSED), "FUSED");
  EXPECT_EQ(StateName(static_cast<v1::AdapterState>(99)), "99");
}

}  // namespace
}  // namespace shira::cli
