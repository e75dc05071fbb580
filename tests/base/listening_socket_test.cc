#include "base/listening_socket.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "base/strings.h"
#include "tests/testutil/status_matchers.h"
#include "tests/testutil/temp_folder.h"

namespace shira {
namespace {

namespace fs = std::filesystem;
using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::shira::testing::TempFolder;
using ::testing::HasSubstr;

// A socket file as a server that was killed leaves it.
void LeaveSocketFile(const std::string& path) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  std::memcpy(address.sun_path, path.data(), path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  listen(fd, 1);
  close(fd);
}

bool CanConnectToLoopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  const bool connected =
      connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  close(fd);
  return connected;
}

TEST(ListeningSocketTest, AUnixSocketInUseIsRefused) {
  const TempFolder folder;
  const std::string path = folder.Path("socket");
  {
    ASSERT_OK_AND_ASSIGN(const ListeningSocket first, ListeningSocket::Open("unix:" + path));
    EXPECT_EQ(first.port(), 0);
    EXPECT_THAT(ListeningSocket::Open("unix:" + path).status(),
                StatusIs(absl::StatusCode::kUnavailable, HasSubstr("in use")));
    EXPECT_TRUE(fs::exists(path));
  }
  EXPECT_FALSE(fs::exists(path));
}

TEST(ListeningSocketTest, ASocketFileOfADeadServerIsTakenOver) {
  const TempFolder folder;
  const std::string path = folder.Path("socket");
  LeaveSocketFile(path);
  ASSERT_TRUE(fs::exists(path));
  EXPECT_THAT(ListeningSocket::Open("unix:" + path), IsOk());
}

TEST(ListeningSocketTest, AFileThatIsNoSocketStays) {
  const TempFolder folder;
  const std::string path = folder.Write("file", "precious");
  EXPECT_THAT(ListeningSocket::Open("unix:" + path).status(),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("no socket")));
  EXPECT_EQ(fs::file_size(path), 8u);
}

TEST(ListeningSocketTest, ASocketFileThatIsAnothersByNowIsLeftThere) {
  const TempFolder folder;
  const std::string path = folder.Path("socket");
  std::optional<ListeningSocket> first;
  {
    absl::StatusOr<ListeningSocket> opened = ListeningSocket::Open("unix:" + path);
    ASSERT_THAT(opened, IsOk());
    first.emplace(*std::move(opened));
  }
  fs::rename(path, path + ".old");  // keeps the inode: a new file cannot get its number
  LeaveSocketFile(path);
  first.reset();
  EXPECT_TRUE(fs::exists(path));
}

TEST(ListeningSocketTest, APortInUseIsRefused) {
  ASSERT_OK_AND_ASSIGN(const ListeningSocket first, ListeningSocket::Open("127.0.0.1:0"));
  EXPECT_GT(first.port(), 0);
  EXPECT_THAT(ListeningSocket::Open(StrCat("127.0.0.1:", first.port())).status(),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("in use")));
  EXPECT_THAT(ListeningSocket::Open(StrCat("0.0.0.0:", first.port())).status(),
              StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_TRUE(CanConnectToLoopback(first.port()));
}

TEST(ListeningSocketTest, AllAddressesOfAHostHaveOnePort) {
  for (const char* address : {"localhost:0", "0.0.0.0:0", "[::]:0"}) {
    ASSERT_OK_AND_ASSIGN(const ListeningSocket socket, ListeningSocket::Open(address));
    EXPECT_GE(socket.fds().size(), 1u);
    EXPECT_TRUE(CanConnectToLoopback(socket.port())) << address;
  }
}

TEST(ListeningSocketTest, WhatIsNoAddressOfThisMachineIsRefused) {
  EXPECT_THAT(ListeningSocket::Open("192.0.2.1:0").status(),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("192.0.2.1:0")));
  EXPECT_THAT(ListeningSocket::Open("unix:/no/such/folder/socket").status(),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("/no/such/folder")));
}

}  // namespace
}  // namespace shira
