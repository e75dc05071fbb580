#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "client/cli/adapter_spec.h"
#include "client/cli/commands.h"
#include "client/cli/format.h"
#include "client/cli/json_output.h"

namespace shira::cli {
namespace {

absl::StatusOr<ExitCode> Apply(Session& session, const std::vector<std::string>& specs) {
  const absl::StatusOr<std::vector<v1::WeightedAdapter>> adapters = ParseAdapterSpecs(specs);
  if (!adapters.ok()) return adapters.status();
  if (absl::Status status = session.Connect(); !status.ok()) return status;
  const absl::StatusOr<v1::ApplyAdapterResponse> response = session.Run(
      "Switching",
      [&](const CallOptions& call) { return session.client().ApplyAdapter(*adapters, call); });
  if (!response.ok()) return response.status();
  if (session.json()) {
    session.PrintJson(ToJson(*response));
  } else {
    session.out().Write(
        absl::StrCat("Resident and default: ", FormatAdapters(response->state().adapters()), " (",
                     FormatCount(response->written()), " elements written in ",
                     FormatTimeSpan(ToDuration(response->switch_duration())), ")\n"));
  }
  return ExitCode::kOk;
}

}  // namespace

CommandRunner SetUpAdapterApply(CLI::App& app) {
  const auto specs = std::make_shared<std::vector<std::string>>();
  app.description("Make adapters resident, and the default of requests that name none");
  app.footer(
      "Examples:\n"
      "  shira adapter apply pirate\n"
      "  shira adapter apply pirate:0.7 json:0.3");
  app.add_option("ADAPTER", *specs,
                 "NAME, or NAME:W with a weight that is 1 when not given; several make a sum")
      ->type_name("")
      ->check(AdapterSpecValidator().description(""))
      ->required();
  return [specs](Session& session) { return Apply(session, *specs); };
}

}  // namespace shira::cli
