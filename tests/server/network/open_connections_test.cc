#include "server/network/open_connections.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

namespace shira {
namespace {

int OpenSocket() { return socket(AF_UNIX, SOCK_STREAM, 0); }

TEST(OpenConnectionsTest, ThoseThatSomebodyElseHasClosedCountNoMore) {
  OpenConnections connections(10);
  const int first = OpenSocket();
  const int second = OpenSocket();
  EXPECT_TRUE(connections.TryAdd(first));
  EXPECT_TRUE(connections.TryAdd(second));
  EXPECT_EQ(connections.Count(), 2);
  close(first);
  EXPECT_EQ(connections.Count(), 1);
  // The number goes to another file, or to a connection that nobody has told us of.
  EXPECT_EQ(open("/dev/null", O_RDONLY), first);
  EXPECT_EQ(connections.Count(), 1);
  close(first);
  close(second);
  EXPECT_EQ(OpenSocket(), first);
  EXPECT_EQ(connections.Count(), 0);
  close(first);
}

TEST(OpenConnectionsTest, ANumberThatComesAgainIsAnotherConnection) {
  OpenConnections connections(1);
  for (int i = 0; i < 3; ++i) {
    const int fd = OpenSocket();
    EXPECT_TRUE(connections.TryAdd(fd)) << i;
    close(fd);
  }
}

TEST(OpenConnectionsTest, TheLimitHolds) {
  OpenConnections connections(1);
  const int first = OpenSocket();
  const int second = OpenSocket();
  EXPECT_TRUE(connections.TryAdd(first));
  EXPECT_FALSE(connections.TryAdd(second));
  EXPECT_EQ(connections.Count(), 1);
  close(first);
  EXPECT_EQ(connections.Count(), 0);
  EXPECT_TRUE(connections.TryAdd(second));
  close(second);
}

}  // namespace
}  // namespace shira
