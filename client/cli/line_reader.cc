#include "client/cli/line_reader.h"

#include <histedit.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cwchar>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "client/cli/interrupt.h"

namespace shira::cli {
namespace {

enum class ByteResult { kByte, kEnd, kInterrupted };

// Waits for one byte or a Ctrl-C.
ByteResult ReadByte(int fd, char& byte) {
  while (true) {
    std::array<pollfd, 2> fds = {pollfd{InterruptFd(), POLLIN, 0}, pollfd{fd, POLLIN, 0}};
    if (poll(fds.data(), fds.size(), -1) < 0) {
      if (errno == EINTR) continue;
      return ByteResult::kEnd;
    }
    if (fds[0].revents != 0 && TakeInterrupt()) return ByteResult::kInterrupted;
    if (fds[1].revents == 0) continue;
    const ssize_t count = read(fd, &byte, 1);
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    return count == 1 ? ByteResult::kByte : ByteResult::kEnd;
  }
}

class PlainLineReader : public LineReader {
 public:
  explicit PlainLineReader(int fd) : fd_(fd) {}

  ReadResult Read(std::string& line) override {
    line.clear();
    while (true) {
      char byte;
      switch (ReadByte(fd_, byte)) {
        case ByteResult::kInterrupted:
          line.clear();
          return ReadResult::kInterrupted;
        case ByteResult::kEnd:
          return line.empty() ? ReadResult::kEnd : ReadResult::kLine;
        case ByteResult::kByte:
          if (byte == '\n') return ReadResult::kLine;
          line.push_back(byte);
      }
    }
  }

 private:
  const int fd_;
};

class TerminalLineReader : public LineReader {
 public:
  explicit TerminalLineReader(TerminalOptions options) : options_(std::move(options)) {
    // libedit decodes by the locale, and calls are UTF-8 in any.
    std::setlocale(LC_CTYPE, "C.UTF-8");
    history_.reset(history_init());
    edit_.reset(el_init("shira", stdin, stdout, stderr));
    HistEvent event;
    history(history_.get(), &event, H_SETSIZE, 1000);
    for (const std::string& line : options_.history)
      history(history_.get(), &event, H_ENTER, line.c_str());
    el_set(edit_.get(), EL_CLIENTDATA, this);
    el_set(edit_.get(), EL_PROMPT, &TerminalLineReader::Prompt);
    el_set(edit_.get(), EL_EDITOR, "emacs");
    el_set(edit_.get(), EL_HIST, history, history_.get());
    // Puts the terminal right around Ctrl-Z and when its size changes. SIGINT is not affected: it
    // is blocked.
    el_set(edit_.get(), EL_SIGNAL, 1);
    el_set(edit_.get(), EL_GETCFN, &TerminalLineReader::ReadChar);
    el_set(edit_.get(), EL_ADDFN, "shira-complete", "Complete a command or name",
           &TerminalLineReader::PressTab);
    el_set(edit_.get(), EL_BIND, "^I", "shira-complete", nullptr);
  }

  ReadResult Read(std::string& line) override {
    line.clear();
    interrupted_ = false;
    int count = 0;
    // libedit shows its prompt before it takes the terminal over, and a Ctrl-D between the two
    // would become a character of the line.
    el_set(edit_.get(), EL_PREP_TERM, 1);
    const char* text = el_gets(edit_.get(), &count);
    if (interrupted_ || text == nullptr || count <= 0) {
      std::fputs(interrupted_ ? "^C\n" : "\n", stdout);
      std::fflush(stdout);
      return interrupted_ ? ReadResult::kInterrupted : ReadResult::kEnd;
    }
    line.assign(text, count);
    if (line.find_first_not_of(" \t\n") != std::string::npos) {
      HistEvent event;
      history(history_.get(), &event, H_ENTER, line.c_str());
    }
    if (line.back() == '\n') line.pop_back();
    return ReadResult::kLine;
  }

 private:
  static TerminalLineReader* Self(EditLine* edit) {
    void* self = nullptr;
    el_get(edit, EL_CLIENTDATA, &self);
    return static_cast<TerminalLineReader*>(self);
  }

  static char* Prompt(EditLine* edit) { return Self(edit)->options_.prompt.data(); }

  // A function of the editor.
  static unsigned char PressTab(EditLine* edit, int) {
    const Completer& completer = Self(edit)->options_.completer;
    const LineInfo& info = *el_line(edit);
    const absl::string_view line(info.buffer, info.cursor - info.buffer);
    const Completion completion =
        completer && info.cursor == info.lastchar ? Complete(line, completer(line)) : Completion();
    if (!completion.choices.empty()) {
      std::fputs(absl::StrCat("\n", absl::StrJoin(completion.choices, "  "), "\n").c_str(), stdout);
      return CC_REDISPLAY;
    }
    const std::string text = completion.insert.empty() ? "\t" : completion.insert;
    return el_insertstr(edit, text.c_str()) == 0 ? CC_REFRESH : CC_ERROR;
  }

  // 1 with a character, 0 at the end, as EL_GETCFN asks for.
  static int ReadChar(EditLine* edit, wchar_t* character) {
    std::mbstate_t state = {};
    while (true) {
      char byte;
      switch (ReadByte(STDIN_FILENO, byte)) {
        case ByteResult::kInterrupted:
          Self(edit)->interrupted_ = true;
          return 0;
        case ByteResult::kEnd:
          return 0;
        case ByteResult::kByte:
          break;
      }
      const size_t used = std::mbrtowc(character, &byte, 1, &state);
      if (used == static_cast<size_t>(-2)) continue;                // Not a whole character yet.
      if (used == static_cast<size_t>(-1)) *character = L'\uFFFD';  // Not UTF-8.
      return 1;
    }
  }

  struct Deleter {
    void operator()(EditLine* edit) const { el_end(edit); }
    void operator()(History* entries) const { history_end(entries); }
  };

  TerminalOptions options_;
  std::unique_ptr<History, Deleter> history_;
  std::unique_ptr<EditLine, Deleter> edit_;
  bool interrupted_ = false;
};

}  // namespace

std::unique_ptr<LineReader> MakePlainLineReader(int fd) {
  return std::make_unique<PlainLineReader>(fd);
}

Completion Complete(absl::string_view line, const std::vector<std::string>& candidates) {
  const absl::string_view word = line.substr(line.find_last_of(" \t") + 1);
  std::vector<std::string> fitting;
  for (const std::string& candidate : candidates) {
    if (absl::StartsWith(candidate, word)) fitting.push_back(candidate);
  }
  if (fitting.empty()) return {};
  std::string common = fitting.front();
  for (const std::string& candidate : fitting) {
    while (!absl::StartsWith(candidate, common)) common.pop_back();
  }
  const bool is_whole = fitting.size() == 1;
  const std::string insert = absl::StrCat(common.substr(word.size()), is_whole ? " " : "");
  if (insert.empty()) return {.choices = std::move(fitting)};
  return {.insert = insert};
}

std::unique_ptr<LineReader> MakeTerminalLineReader(TerminalOptions options) {
  return std::make_unique<TerminalLineReader>(std::move(options));
}

}  // namespace shira::cli
