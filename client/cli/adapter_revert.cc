#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/format.h"
#include "client/cli/json_output.h"

namespace shira::cli {
namespace {

absl::StatusOr<ExitCode> Revert(Session& session) {
  if (absl::Status status = session.Connect(); !status.ok()) return status;
  const absl::StatusOr<v1::RevertAdapterResponse> response = session.Run(
      "Switching", [&](const CallOptions& call) { return session.client().RevertAdapter(call); });
  if (!response.ok()) return response.status();
  if (session.json()) {
    session.PrintJson(ToJson(*response));
  } else {
    session.out().Write(absl::StrCat(
        "Resident and default: base (", FormatCount(response->written()), " elements written in ",
        FormatTimeSpan(ToDuration(response->switch_duration())), ")\n"));
  }
  return ExitCode::kOk;
}

}  // namespace

CommandRunner SetUpAdapterRevert(CLI::App& app) {
  app.description("Put the base model back, and make it the default");
  app.footer(
      "Example:\n"
      "  shira adapter revert");
  return &Revert;
}

}  // namespace shira::cli
