#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/format.h"
#include "client/cli/json_output.h"

namespace shira::cli {
namespace {

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

  if (status != HealthStatus::kNotServing) {
    const auto state = session.Run(
        "Asking", [&](const CallOptions& call) { return client.GetResidentState(call); });
    if (!state.ok()) return state.status();
    const auto adapters =
        session.Run("Asking", [&](const CallOptions& call) { return client.ListAdapters(call); });
    if (!adapters.ok()) return adapters.status();
    json["resident"] = ToJson(state->resident());
    json["default"] = ToJson(state->default_state());
    json["switches"] = state->switches();
    json["adapter_count"] = adapters->size();
    fields.emplace_back("Resident", FormatAdapters(state->resident().adapters()));
    fields.emplace_back("Default", FormatAdapters(state->default_state().adapters()));
    fields.emplace_back("Switches", FormatCount(state->switches()));
    fields.emplace_back("Adapters", absl::StrCat(adapters->size()));
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
  app.description("Show whether the server serves, and which state its weights are in");
  app.footer(
      "Exit status 3 if the server cannot be reached, or answers that it does not serve.\n"
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
