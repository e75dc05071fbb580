// File: client/cli/key_input.h
//
// Single keys from a terminal, without a line end behind them, for programs that show a screen.

#ifndef SHIRA_CLIENT_CLI_KEY_INPUT_H_
#define SHIRA_CLIENT_CLI_KEY_INPUT_H_

#include <termios.h>

#include <optional>

#include "absl/time/time.h"

namespace shira::cli {

// While it lives, keys come at once and are not shown, if standard input is a terminal that this
// program may read from; else there are no keys. The terminal is as before afterwards, also when
// SIGTERM or SIGHUP ends the program. One at a time. REQUIRES: BlockInterrupts() was called.
class KeyInput {
 public:
  KeyInput();
  ~KeyInput();
  KeyInput(const KeyInput&) = delete;
  KeyInput& operator=(const KeyInput&) = delete;

  enum class Event { kTimeout, kKey, kInterrupt };

  // Waits for a key, which it stores, for Ctrl-C, or until the time is over.
  Event Wait(absl::Duration timeout, char& key);

 private:
  // What it was; absent: there are no keys.
  std::optional<termios> before_;
};

}  // namespace shira::cli

#endif  // SHIRA_CLIENT_CLI_KEY_INPUT_H_
