// File: client/cli/text_input.h
//
// Text from the command line or from standard input.

#ifndef SHIRA_CLIENT_CLI_TEXT_INPUT_H_
#define SHIRA_CLIENT_CLI_TEXT_INPUT_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace shira::cli {

// INVALID_ARGUMENT, with the place, if the text is not UTF-8, which the API requires.
absl::Status CheckUtf8(absl::string_view text);

// The argument itself, or all of standard input when it is "-". Checked by CheckUtf8().
absl::StatusOr<std::string> ReadText(const std::string& argument);

// Where a command finds its text.
struct TextSource {
  // From the option, if the command has one.
  std::optional<std::string> option;
  // From the command line without one, joined by blanks.
  std::vector<std::string> words;

  // Whether the command line has no text; then it comes from standard input.
  bool is_absent() const { return !option.has_value() && words.empty(); }
};

// Refuses the command line (by an exception for CLI11) when `source` is absent and standard input is
// a terminal, for which `what` would wait. For App::parse_complete_callback().
void ExpectText(const TextSource& source, absl::string_view what);

// As ReadText(), but what comes from standard input loses its last line end, as in a shell's
// "$(...)": it is the file's and not the text's.
absl::StatusOr<std::string> ReadText(const TextSource& source);

}  // namespace shira::cli

#endif  // SHIRA_CLIENT_CLI_TEXT_INPUT_H_
