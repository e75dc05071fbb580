#include "server/descriptor_limit.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

namespace shira {
namespace {

TEST(DescriptorLimitTest, AQuarterStaysForEverythingElse) {
  EXPECT_EQ(ConnectionsFor(1024), 768);
  EXPECT_EQ(DescriptorsFor(768), 1024);
  for (const int64_t connections : {1, 2, 3, 100, 1024, 100'000}) {
    EXPECT_GE(ConnectionsFor(DescriptorsFor(connections)), connections);
  }
}

TEST(DescriptorLimitTest, TheLimitIsRaisedAsFarAsTheSystemPermits) {
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit.rlim_cur = 100;
  limit.rlim_max = 200;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(RaiseDescriptorLimit(50), 100);  // never lowered
  EXPECT_EQ(RaiseDescriptorLimit(150), 150);
  EXPECT_EQ(RaiseDescriptorLimit(1000), 200);
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(limit.rlim_cur, 200u);
}

}  // namespace
}  // namespace shira
