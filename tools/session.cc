#include "tools/session.h"

#include <string>

#include "tools/interrupt.h"

namespace shira::tools {

ExitCode Session::ReportError(const absl::Status& error) {
  if (absl::IsCancelled(error) && Interrupted()) {
    err().Write("shira-adapter: interrupted; nothing was written\n");
    return ExitCode::kInterrupted;
  }
  if (json()) {
    PrintJson({{"error",
                {{"code", absl::StatusCodeToString(error.code())},
                 {"message", std::string(error.message())}}}});
  } else {
    err().Write(ErrorLine(error) + "\n");
  }
  return ExitCode::kError;
}

}  // namespace shira::tools
