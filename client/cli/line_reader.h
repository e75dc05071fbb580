// File: client/cli/line_reader.h
//
// Lines from the user: edited, with a history, when both ends are a terminal; else as they come
// from a file or pipe.

#ifndef SHIRA_CLIENT_CLI_LINE_READER_H_
#define SHIRA_CLIENT_CLI_LINE_READER_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

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

// What the last word of the line so far can become, that word as it is among them or not. Empty:
// nothing is known of it.
using Completer = std::function<std::vector<std::string>(absl::string_view line)>;

// What Tab does to the last word of a line, as a pure function: `insert` goes behind it; where
// nothing does, `choices` are to be shown. Both are empty where nothing fits.
struct Completion {
  std::string insert = {};
  std::vector<std::string> choices = {};
};
Completion Complete(absl::string_view line, const std::vector<std::string>& candidates);

struct TerminalOptions {
  std::string prompt;
  // Lines to go back to, the oldest first.
  std::vector<std::string> history = {};
  // For Tab; may be empty. Elsewhere than in the last word, or where it gives nothing, Tab is a
  // character like others.
  Completer completer = nullptr;
};

// Lets the user edit, search and complete (the keys of emacs).
std::unique_ptr<LineReader> MakeTerminalLineReader(TerminalOptions options);

}  // namespace shira::cli

#endif  // SHIRA_CLIENT_CLI_LINE_READER_H_
