// The fake server as a program, for tests that are not written in C++: prints its port and serves
// until standard input ends.

#include <cstdio>

#include "tests/testutil/fake_server.h"

int main() {
  const shira::testing::FakeServer server;
  std::printf("%d\n", server.port());
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return 0;
}
