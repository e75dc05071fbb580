// File: client/cli/line_reader.h
//
// Lines from the user: edited, with a history, when both ends are a terminal; else as they come
// from a file or pipe.

#ifndef SHIRA_CLIENT_CLI_LINE_READER_H_
#define SHIRA_CLIENT_CLI_LINE_READER_H_

#include <memory>
#include <string>

#include "absl/strings/string_view.h"

namespace shira::cli {

// What became of a request for a line.
enum class ReadResult {
  kLine,
  // End of the input, or Ctrl-D on an empty line.
  kEnd,
  // Ctrl-C while waiting; what had been typed is forgotten.
  kInterrupted,
};

// REQUIRES for both kinds: BlockInterrupts() was called. Lines are UTF-8, whatever the locale. Not
// thread-safe.
class LineReader {
 public:
  virtual ~LineReader() = default;

  // Stores the next line, without its end, on kLine; else leaves `line` empty.
  virtual ReadResult Read(std::string& line) = 0;
};

// Reads a file descriptor, which is not owned, and prints nothing.
std::unique_ptr<LineReader> MakePlainLineReader(int fd);

// Shows `prompt` on the terminal and lets the user edit and search (the keys of emacs).
std::unique_ptr<LineReader> MakeTerminalLineReader(std::string prompt);

}  // namespace shira::cli

#endif  // SHIRA_CLIENT_CLI_LINE_READER_H_
