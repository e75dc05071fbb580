#include "absl/status/status.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/commands.h"
#include "client/cli/format.h"
#include "client/cli/json_output.h"
#include "client/cli/server_status.h"

namespace shira::cli {
namespace {

// Health needs no role, the rest does: whether a server serves has to be visible without a token.
bool IsOnlyRefused(const absl::Status& status) {
  return absl::IsUnauthenticated(status) || absl::IsPermissionDenied(status) ||
         absl::IsUnimplemented(status);
}

absl::StatusOr<ExitCode> Status(Session& session) {
  const Client& client = session.client();
  const absl::StatusOr<HealthStatus> health =
      session.Run("Asking", [&](const CallOptions& call) { return client.CheckHealth(call); });
  // A server without a health service serves when it answers.
  if (!health.ok() && !absl::IsUnimplemented(health.status())) return health.status();
  const HealthStatus status = health.value_or(HealthStatus::kUnknown);
  Json json = {{"server", client.address()}, {"health", HealthName(status)}};
  std::vector<std::pair<std::string, std::string>> fields = {{"Server", client.address()},
                                                             {"Health", HealthName(status)}};

  const auto details =
      session.Run("Asking", [&](const CallOptions& call) { return client.GetServerStatus(call); });
  if (details.ok()) {
    json.update(ToJson(*details));
    const auto more = StatusFields(*details);
    fields.insert(fields.end(), more.begin(), more.end());
  } else if (IsOnlyRefused(details.status())) {
    fields.emplace_back("Details", "not for this token or certificate");
  } else {
    return details.status();
  }
  if (session.json()) {
    session.PrintJson(json);
  } else {
    session.out().Write(FormatFields(fields));
  }
  return status == HealthStatus::kNotServing ? ExitCode::kUnreachable : ExitCode::kOk;
}

}  // namespace

CommandRunner SetUpStatus(CLI::App& app) {
  app.description("Show whether the server serves, and what it does at this moment");
  app.footer(
      "Whether it serves is told without a token; the rest needs the role read-only or admin.\n"
      "Exit status 3 if the server cannot be reached, or answers that it does not serve: a health "
      "check for containers.\n"
      "Examples:\n"
      "  shira status\n"
      "  shira status --connect-timeout 0 --json");
  return [](Session& session) -> absl::StatusOr<ExitCode> {
    if (absl::Status status = session.Connect(/*reachable_is_enough=*/true); !status.ok())
      return status;
    return Status(session);
  };
}

}  // namespace shira::cli
