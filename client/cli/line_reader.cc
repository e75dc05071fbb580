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
  explicit TerminalLineReader(std::string prompt) : prompt_(std::move(prompt)) {
    // libedit decodes by the locale, and calls are UTF-8 in any.
    std::setlocale(LC_CTYPE, "C.UTF-8");
    history_.reset(history_init());
    edit_.reset(el_init("shira", stdin, stdout, stderr));
    HistEvent event;
    history(history_.get(), &event, H_SETSIZE, 1000);
    el_set(edit_.get(), EL_CLIENTDATA, this);
    el_set(edit_.get(), EL_PROMPT, &TerminalLineReader::Prompt);
    el_set(edit_.get(), EL_EDITOR, "emacs");
    el_set(edit_.get(), EL_HIST, history, history_.get());
    // Puts the terminal right around Ctrl-Z and when its size changes. SIGINT is not affected: it
    // is blocked.
    el_set(edit_.get(), EL_SIGNAL, 1);
    el_set(edit_.get(), EL_GETCFN, &TerminalLineReader::ReadChar);
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

  static char* Prompt(EditLine* edit) { return Self(edit)->prompt_.data(); }

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

  std::string prompt_;
  std::unique_ptr<History, Deleter> history_;
  std::unique_ptr<EditLine, Deleter> edit_;
  bool interrupted_ = false;
};

}  // namespace

std::unique_ptr<LineReader> MakePlainLineReader(int fd) {
  return std::make_unique<PlainLineReader>(fd);
}

std::unique_ptr<LineReader> MakeTerminalLineReader(std::string prompt) {
  return std::make_unique<TerminalLineReader>(std::move(prompt));
}

}  // namespace shira::cli
