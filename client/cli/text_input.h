// File: client/cli/text_input.h
//
// Text from the command line or from standard input.

#ifndef SHIRA_CLIENT_CLI_TEXT_INPUT_H_
#define SHIRA_CLIENT_CLI_TEXT_INPUT_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace shira::cli {

// INVALID_ARGUMENT, with the place, if the text is not UTF-8, which the API requires.
absl::Status CheckUtf8(absl::string_view text);

// The argument itself, or all of standard input when it is "-". Checked by CheckUtf8().
absl::StatusOr<std::string> ReadText(const std::string& argument);

}  // namespace shira::cli

#endif  // SHIRA_CLIENT_CLI_TEXT_INPUT_H_
