#include "client/cli/key_input.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <limits>

#include "client/cli/interrupt.h"

namespace shira::cli {
namespace {

constexpr std::array<int, 2> kEndingSignals = {SIGTERM, SIGHUP};

// For the handler, which may only look at what does not change while it can be called.
termios terminal_before;

void PutTerminalRightAndEnd(int signal) {
  tcsetattr(STDIN_FILENO, TCSANOW, &terminal_before);
  std::signal(signal, SIG_DFL);
  raise(signal);
}

}  // namespace

KeyInput::KeyInput() {
  termios settings;
  // A background job that changes its terminal is stopped.
  if (tcgetpgrp(STDIN_FILENO) != getpgrp() || tcgetattr(STDIN_FILENO, &settings) != 0) return;
  before_ = settings;
  terminal_before = settings;
  for (const int signal : kEndingSignals) std::signal(signal, &PutTerminalRightAndEnd);
  settings.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
  settings.c_cc[VMIN] = 1;
  settings.c_cc[VTIME] = 0;
  tcsetattr(STDIN_FILENO, TCSANOW, &settings);
}

KeyInput::~KeyInput() {
  if (!before_.has_value()) return;
  tcsetattr(STDIN_FILENO, TCSANOW, &*before_);
  for (const int signal : kEndingSignals) std::signal(signal, SIG_DFL);
}

KeyInput::Event KeyInput::Wait(absl::Duration timeout, char& key) {
  const auto end = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(timeout);
  bool has_keys = before_.has_value();
  while (true) {
    const absl::Duration left = absl::FromChrono(end - std::chrono::steady_clock::now());
    const int64_t milliseconds =
        std::clamp<int64_t>(absl::ToInt64Milliseconds(absl::Ceil(left, absl::Milliseconds(1))), 0,
                            std::numeric_limits<int>::max());
    std::array<pollfd, 2> fds = {pollfd{InterruptFd(), POLLIN, 0},
                                 pollfd{has_keys ? STDIN_FILENO : -1, POLLIN, 0}};
    const int ready = poll(fds.data(), fds.size(), static_cast<int>(milliseconds));
    if (ready < 0 && errno != EINTR) return Event::kInterrupt;
    if (ready == 0) return Event::kTimeout;
    if (ready < 0) continue;
    if (fds[0].revents != 0 && TakeInterrupt()) return Event::kInterrupt;
    if (fds[1].revents == 0) continue;
    if (read(STDIN_FILENO, &key, 1) == 1) return Event::kKey;
    has_keys = false;  // The terminal is gone.
  }
}

}  // namespace shira::cli
