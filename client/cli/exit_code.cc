#include "client/cli/exit_code.h"

#include "absl/status/status.h"
#include "client/error_info.h"

namespace shira::cli {

ExitCode ExitCodeFor(const absl::Status& status, bool interrupted) {
  if (status.ok()) return ExitCode::kOk;
  if (interrupted) return ExitCode::kInterrupted;
  if (absl::IsDeadlineExceeded(status)) return ExitCode::kDeadline;
  // A server that answers UNAVAILABLE itself (because it drains) says so with an ErrorInfo.
  if (absl::IsUnavailable(status) && !GetErrorInfo(status).has_value())
    return ExitCode::kUnreachable;
  return ExitCode::kError;
}

}  // namespace shira::cli
