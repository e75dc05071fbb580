#include "tools/session.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/strings.h"
#include "tools/interrupt.h"

namespace shira::tools {

Session::Session(const GlobalOptions& options) : options_(options), out_(stdout), err_(stderr) {}

void Session::PrintJson(const Json& json) {
  // Names come from files and may be anything.
  out_.Write(json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

ExitCode Session::Finish(const absl::StatusOr<ExitCode>& result) {
  // The output decides first: a result that could not be written is no success, and a reader that
  // left wants no more words.
  if (out_.error() == EPIPE) return ExitCode::kBrokenPipe;
  if (out_.error() != 0) {
    err_.Write(StrCat("shira-adapter: error: cannot write to standard output: ",
                      std::strerror(out_.error()), "\n"));
    return ExitCode::kError;
  }
  if (result.ok()) return *result;
  const absl::Status& status = result.status();
  if (absl::IsCancelled(status) && Interrupted()) {
    err_.Write("shira-adapter: interrupted; nothing was written\n");
    return ExitCode::kInterrupted;
  }
  if (options_.json) {
    PrintJson({{"error",
                {{"code", absl::StatusCodeToString(status.code())},
                 {"message", std::string(status.message())}}}});
  } else {
    err_.Write(StrCat("shira-adapter: ", err_.Red("error:"), " ",
                      absl::StatusCodeToString(status.code()), ": ", status.message(), "\n"));
  }
  return ExitCode::kError;
}

}  // namespace shira::tools
