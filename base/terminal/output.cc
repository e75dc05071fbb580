#include "base/terminal/output.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace shira {
namespace {

bool TerminalShowsColor() {
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  return (no_color == nullptr || *no_color == '\0') && term != nullptr &&
         absl::string_view(term) != "dumb";
}

}  // namespace

Output::Output(std::FILE* file)
    : file_(file),
      is_terminal_(isatty(fileno(file)) == 1),
      has_color_(is_terminal_ && TerminalShowsColor()) {}

bool Output::Write(absl::string_view text) {
  if (error_ != 0) return false;
  if (text.empty()) return true;
  if (std::fwrite(text.data(), 1, text.size(), file_) != text.size() || std::fflush(file_) != 0) {
    error_ = errno != 0 ? errno : EIO;
    return false;
  }
  at_line_start_ = text.back() == '\n';
  return true;
}

std::string Output::Dim(absl::string_view text) const { return Styled("2", text); }
std::string Output::Red(absl::string_view text) const { return Styled("31", text); }

std::string Output::Styled(absl::string_view code, absl::string_view text) const {
  if (!has_color_) return std::string(text);
  return absl::StrCat("\x1b[", code, "m", text, "\x1b[0m");
}

}  // namespace shira
