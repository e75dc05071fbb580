#include "client/cli/text_input.h"

#include <unicode/utf8.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <iterator>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"

namespace shira::cli {

absl::Status CheckUtf8(absl::string_view text) {
  const int64_t size = static_cast<int64_t>(text.size());
  for (int64_t i = 0; i < size;) {
    const int64_t start = i;
    UChar32 code_point;
    U8_NEXT(text.data(), i, size, code_point);
    if (code_point < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("The text is not UTF-8 at byte ", start, ": convert it first"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadText(const std::string& argument) {
  std::string text = argument;
  if (argument == "-")
    text.assign(std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>());
  if (absl::Status status = CheckUtf8(text); !status.ok()) return status;
  return text;
}

void ExpectText(const TextSource& source, absl::string_view what) {
  if (!source.is_absent() || isatty(STDIN_FILENO) == 0) return;
  throw CLI::ValidationError(
      absl::StrCat("no ", what, ": give it in quotes, or pipe it into standard input"));
}

absl::StatusOr<std::string> ReadText(const TextSource& source) {
  const std::string argument =
      source.is_absent() ? "-" : source.option.value_or(absl::StrJoin(source.words, " "));
  absl::StatusOr<std::string> text = ReadText(argument);
  if (text.ok() && argument == "-" && absl::EndsWith(*text, "\n")) {
    text->pop_back();
    if (absl::EndsWith(*text, "\r")) text->pop_back();
  }
  return text;
}

}  // namespace shira::cli
