#include "client/cli/text_input.h"

#include <unicode/utf8.h>

#include <iostream>
#include <iterator>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
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

}  // namespace shira::cli
