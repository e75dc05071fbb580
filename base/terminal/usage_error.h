// File: base/terminal/usage_error.h
//
// Error messages for wrong command lines.

#ifndef SHIRA_BASE_TERMINAL_USAGE_ERROR_H_
#define SHIRA_BASE_TERMINAL_USAGE_ERROR_H_

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace shira {

// The innermost command that the last parse() of `app` found: `app` itself if none.
const CLI::App& NamedCommand(const CLI::App& app);

// "shira adapter load".
std::string FullName(const CLI::App& app);

// Its help under its full name, whatever was parsed.
std::string HelpOf(const CLI::App& app);

// The command of `app` that is called `word`; null if there is none.
const CLI::App* FindCommand(const CLI::App& app, const std::string& word);

// Says that there is no command `word` in `app`, and which was probably meant, also in other
// groups.
std::string UnknownCommand(const CLI::App& app, const std::string& word);

// "shira: error: ..., and which help says more", with a line end. Names a command or option that
// does not exist before anything else, since what else is missing follows from it. REQUIRES:
// app.parse() threw `error`.
std::string ExplainUsage(const CLI::App& app, const CLI::ParseError& error);

// The frame of the above, for usage errors that the parser does not know of.
std::string UsageMessage(const CLI::App& app, absl::string_view what);

}  // namespace shira

#endif  // SHIRA_BASE_TERMINAL_USAGE_ERROR_H_
