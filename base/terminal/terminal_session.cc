#include "base/terminal/terminal_session.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace shira {

std::string Dump(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

TerminalSession::TerminalSession(std::string program, bool json)
    : program_(std::move(program)), json_(json), out_(stdout), err_(stderr) {}

std::string TerminalSession::ErrorLine(const absl::Status& error) const {
  return absl::StrCat(program_, ": ", err_.Red("error:"), " ",
                      absl::StatusCodeToString(error.code()), ": ", error.message());
}

ExitCode TerminalSession::Finish(const absl::StatusOr<ExitCode>& result) {
  // The output decides first: a result that could not be written is no success, and a reader that
  // left wants no more words.
  if (out_.error() == EPIPE) return ExitCode::kBrokenPipe;
  if (out_.error() != 0) {
    err_.Write(absl::StrCat(
        program_, ": error: cannot write to standard output: ", std::strerror(out_.error()), "\n"));
    return ExitCode::kError;
  }
  return result.ok() ? *result : ReportError(result.status());
}

}  // namespace shira
