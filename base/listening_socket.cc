#include "base/listening_socket.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string_view>
#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace {

constexpr std::string_view kUnixPrefix = "unix:";
constexpr int kSocketFlags = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
// A free port of one address may be taken at the next one of the same host.
constexpr int kPortAttempts = 16;
constexpr int kLockAttempts = 100;
constexpr useconds_t kLockIntervalMicroseconds = 20'000;

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

absl::Status Unavailable(std::string_view what, int error) {
  return absl::UnavailableError(StrCat(what, ": ", std::string_view(std::strerror(error))));
}

// Binds and listens; the error is errno.
int Listen(int fd, const sockaddr* address, socklen_t length) {
  if (bind(fd, address, length) != 0) return errno;
  return listen(fd, SOMAXCONN) == 0 ? 0 : errno;
}

absl::StatusOr<sockaddr_un> UnixAddress(const std::string& path) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return absl::UnavailableError(StrCat(path, ": no path of a socket"));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

// Whether a process listens there. A full backlog counts as listening.
bool IsListenedOn(const sockaddr_un& address) {
  const Fd probe(socket(AF_UNIX, kSocketFlags, 0));
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  return connect(probe.get(), generic, sizeof(address)) == 0 || errno != ECONNREFUSED;
}

// Removes what a dead server has left. Anything else that has the name stays.
absl::Status MakeRoom(const std::string& path, const sockaddr_un& address) {
  struct stat file;
  if (lstat(path.c_str(), &file) != 0) {
    return errno == ENOENT ? absl::OkStatus() : Unavailable(path, errno);
  }
  if (!S_ISSOCK(file.st_mode)) return absl::UnavailableError(StrCat(path, ": is no socket"));
  if (IsListenedOn(address)) return absl::UnavailableError(StrCat(path, ": is in use"));
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return Unavailable(path, errno);
  return absl::OkStatus();
}

// Locked until `fd` is closed. Others have it for as long as it takes to bind.
absl::Status Lock(int fd, const std::string& folder) {
  for (int attempt = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; ++attempt) {
    if (errno != EWOULDBLOCK || attempt == kLockAttempts) return Unavailable(folder, errno);
    usleep(kLockIntervalMicroseconds);
  }
  return absl::OkStatus();
}

struct HostAndPort {
  std::string host;
  std::string port;
};

HostAndPort Split(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return {address, ""};
  std::string host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return {std::move(host), address.substr(colon + 1)};
}

uint16_t& PortOf(sockaddr_storage& address) {
  return address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(address).sin6_port
                                       : reinterpret_cast<sockaddr_in&>(address).sin_port;
}

struct TcpAddress {
  sockaddr_storage address;
  socklen_t length;
};

absl::StatusOr<std::vector<TcpAddress>> Resolve(const std::string& address) {
  const auto [host, port] = Split(address);
  addrinfo hints{};
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &list); error != 0) {
    return absl::UnavailableError(StrCat(address, ": ", std::string_view(gai_strerror(error))));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(list, &freeaddrinfo);
  std::vector<TcpAddress> addresses;
  for (const addrinfo* info = list; info != nullptr; info = info->ai_next) {
    TcpAddress found{.address = {}, .length = info->ai_addrlen};
    std::memcpy(&found.address, info->ai_addr, info->ai_addrlen);
    addresses.push_back(found);
  }
  return addresses;
}

bool IsWildcard(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) {
    return reinterpret_cast<const sockaddr_in&>(address).sin_addr.s_addr == INADDR_ANY;
  }
  return IN6_IS_ADDR_UNSPECIFIED(&reinterpret_cast<const sockaddr_in6&>(address).sin6_addr);
}

// All of this machine is IPv6 with IPv4 in it, where there is IPv6, and else IPv4.
std::vector<TcpAddress> Wildcards(uint16_t port) {
  TcpAddress v6{.address = {}, .length = sizeof(sockaddr_in6)};
  v6.address.ss_family = AF_INET6;
  TcpAddress v4{.address = {}, .length = sizeof(sockaddr_in)};
  v4.address.ss_family = AF_INET;
  for (TcpAddress* address : {&v6, &v4}) PortOf(address->address) = port;
  return {v6, v4};
}

// A host may have addresses of a kind that this machine has not.
bool IsMissingHere(int error) { return error == EAFNOSUPPORT || error == EADDRNOTAVAIL; }

// -1 and errno if that cannot be.
int OpenOne(const TcpAddress& address, bool dual_stack) {
  Fd fd(socket(address.address.ss_family, kSocketFlags, 0));
  if (fd.get() < 0) return -1;
  const int on = 1;
  // Connections of an earlier server may still be closing. On Linux this does not share the port.
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (address.address.ss_family == AF_INET6) {
    const int v6_only = dual_stack ? 0 : 1;
    setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof(v6_only));
  }
  errno = Listen(fd.get(), reinterpret_cast<const sockaddr*>(&address.address), address.length);
  return errno == 0 ? fd.release() : -1;
}

int BoundPort(int fd) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
  return ntohs(PortOf(address));
}

}  // namespace

absl::StatusOr<ListeningSocket> ListeningSocket::Open(const std::string& address) {
  return address.starts_with(kUnixPrefix) ? OpenUnix(address.substr(kUnixPrefix.size()))
                                          : OpenTcp(address);
}

absl::StatusOr<ListeningSocket> ListeningSocket::OpenUnix(const std::string& path) {
  SHIRA_ASSIGN_OR_RETURN(const sockaddr_un address, UnixAddress(path));
  // Of two servers that start at a time, one looks after the other has bound.
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  const Fd turn(open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (turn.get() < 0) return Unavailable(folder.native(), errno);
  SHIRA_RETURN_IF_ERROR(Lock(turn.get(), folder.native()));
  SHIRA_RETURN_IF_ERROR(MakeRoom(path, address));

  ListeningSocket result;
  result.fds_.push_back(socket(AF_UNIX, kSocketFlags, 0));
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  if (const int error = Listen(result.fds_.front(), generic, sizeof(address)); error != 0) {
    return Unavailable(path, error);
  }
  struct stat file;
  if (lstat(path.c_str(), &file) != 0) return Unavailable(path, errno);
  result.path_ = path;
  result.device_ = file.st_dev;
  result.inode_ = file.st_ino;
  return result;
}

absl::StatusOr<ListeningSocket> ListeningSocket::OpenTcp(const std::string& address) {
  SHIRA_ASSIGN_OR_RETURN(std::vector<TcpAddress> addresses, Resolve(address));
  const bool everywhere = IsWildcard(addresses.front().address);
  if (everywhere) addresses = Wildcards(PortOf(addresses.front().address));
  const bool any_port = PortOf(addresses.front().address) == 0;

  int error = 0;
  for (int attempt = 0; attempt < kPortAttempts; ++attempt) {
    ListeningSocket result;
    error = 0;
    for (TcpAddress one : addresses) {
      if (result.port_ != 0) PortOf(one.address) = htons(static_cast<uint16_t>(result.port_));
      const int fd = OpenOne(one, everywhere);
      if (fd < 0) {
        error = errno;
        if (IsMissingHere(error)) continue;
        break;
      }
      result.fds_.push_back(fd);
      result.port_ = BoundPort(fd);
      if (everywhere) break;
    }
    const bool tolerable = everywhere || error == 0 || IsMissingHere(error);
    if (tolerable && !result.fds_.empty()) return result;
    if (!any_port || error != EADDRINUSE) break;
  }
  return Unavailable(address, error);
}

ListeningSocket::ListeningSocket(ListeningSocket&& other) noexcept
    : fds_(std::exchange(other.fds_, {})),
      port_(other.port_),
      path_(std::exchange(other.path_, {})),
      device_(other.device_),
      inode_(other.inode_) {}

ListeningSocket::~ListeningSocket() {
  struct stat file;
  if (!path_.empty() && lstat(path_.c_str(), &file) == 0 && file.st_dev == device_ &&
      file.st_ino == inode_) {
    unlink(path_.c_str());
  }
  for (const int fd : fds_) close(fd);
}

}  // namespace shira
