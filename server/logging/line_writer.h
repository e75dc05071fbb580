// File: server/logging/line_writer.h
//
// Lines on their way to a file descriptor that may not be read: a pipe whose reader hangs, a
// terminal that was stopped. The threads that log never wait for that, and neither does the end
// of the program. Lines that there is no room for are counted, and a line says so in their place.

#ifndef SHIRA_SERVER_LOGGING_LINE_WRITER_H_
#define SHIRA_SERVER_LOGGING_LINE_WRITER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/time/time.h"

namespace shira {

// Thread-safe.
class LineWriter {
 public:
  struct Options {
    int fd = 2;                          // standard error; stays open. Need not be non-blocking
    size_t max_bytes = size_t{4} << 20;  // that wait
    // The line for lines that were lost, with its line end.
    std::function<std::string(int64_t lost)> lost_line;
  };

  explicit LineWriter(Options options);
  // Close() without patience.
  ~LineWriter();

  // `line` has its line end. Returns at once.
  void Write(std::string_view line);

  // Lines that were not written, and will not be.
  int64_t dropped() const;

  // Waits until everything is written, or for as long as `timeout`; whether it is. From then on
  // lines are dropped.
  bool Close(absl::Duration timeout);

 private:
  class State;
  const std::shared_ptr<State> state_;  // shared with the thread, which may never return
};

}  // namespace shira

#endif  // SHIRA_SERVER_LOGGING_LINE_WRITER_H_
