// File: client/cli/interrupt.h
//
// Ctrl-C as an event instead of the end of the program: SIGINT is blocked and read from a file
// descriptor, by the wait for a key at the prompt or by a thread that cancels the call under way.

#ifndef SHIRA_CLIENT_CLI_INTERRUPT_H_
#define SHIRA_CLIENT_CLI_INTERRUPT_H_

#include <thread>

#include "client/cancellation.h"

namespace shira::cli {

// Blocks SIGINT for the rest of the program. REQUIRES: no other thread runs yet, since threads
// inherit what is blocked. Before this, Ctrl-C ends the program as usual.
void BlockInterrupts();

// Readable when a Ctrl-C waits to be taken. REQUIRES: BlockInterrupts() was called.
int InterruptFd();

// Takes the waiting Ctrl-C. Returns false, at once, if there is none.
bool TakeInterrupt();

// Cancels when Ctrl-C is pressed during its life. One at a time. REQUIRES: BlockInterrupts() was
// called.
class CancelOnInterrupt {
 public:
  explicit CancelOnInterrupt(Cancellation& cancellation);
  ~CancelOnInterrupt();
  CancelOnInterrupt(const CancelOnInterrupt&) = delete;
  CancelOnInterrupt& operator=(const CancelOnInterrupt&) = delete;

 private:
  const int stop_fd_;
  std::thread thread_;
};

}  // namespace shira::cli

#endif  // SHIRA_CLIENT_CLI_INTERRUPT_H_
