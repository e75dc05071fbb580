#include "client/cli/interrupt.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>

namespace shira::cli {
namespace {

sigset_t InterruptSet() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  return set;
}

}  // namespace

void BlockInterrupts() {
  const sigset_t set = InterruptSet();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

int InterruptFd() {
  static const int fd = [] {
    const sigset_t set = InterruptSet();
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  }();
  return fd;
}

bool TakeInterrupt() {
  signalfd_siginfo info;
  return read(InterruptFd(), &info, sizeof(info)) == sizeof(info);
}

CancelOnInterrupt::CancelOnInterrupt(Cancellation& cancellation)
    : stop_fd_(eventfd(0, EFD_CLOEXEC)) {
  thread_ = std::thread([this, &cancellation] {
    while (true) {
      std::array<pollfd, 2> fds = {pollfd{InterruptFd(), POLLIN, 0}, pollfd{stop_fd_, POLLIN, 0}};
      if (poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) return;
      if ((fds[0].revents & POLLIN) != 0 && TakeInterrupt()) cancellation.Cancel();
      if (fds[1].revents != 0) return;
    }
  });
}

CancelOnInterrupt::~CancelOnInterrupt() {
  const uint64_t one = 1;
  // Cannot fail: the counter is at 0.
  [[maybe_unused]] const ssize_t written = write(stop_fd_, &one, sizeof(one));
  thread_.join();
  close(stop_fd_);
}

}  // namespace shira::cli
