#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "client/cli/commands.h"
#include "client/cli/format.h"
#include "client/cli/json_output.h"

namespace shira::cli {
namespace {

std::string FormatTime(const google::protobuf::Timestamp& time) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S %Z", absl::FromUnixSeconds(time.seconds()),
                          absl::LocalTimeZone());
}

std::string FormatAdapterDetails(const v1::Adapter& adapter) {
  std::vector<std::pair<std::string, std::string>> fields = {
      {"Name", adapter.name()},
      {"Version", absl::StrCat(adapter.version())},
      {"SHA-256", adapter.sha256()},
      {"State", StateName(adapter.state())},
      {"Residency", ResidencyName(adapter.residency())},
      {"Path", adapter.path()},
      {"Format", adapter.format()},
      {"Base model", adapter.base_model().empty() ? "not given" : adapter.base_model()},
      {"Entries",
       absl::StrFormat("%s in %d parameters (%.3f %% of the model)", FormatCount(adapter.entries()),
                       adapter.parameter_count(), 100 * adapter.density())},
      {"Memory", FormatBytes(adapter.memory_bytes())},
      {"Running requests", absl::StrCat(adapter.running_requests())},
  };
  if (adapter.has_load_time()) {
    fields.emplace_back("Loaded",
                        absl::StrCat(FormatTime(adapter.load_time()), ", took ",
                                     FormatTimeSpan(ToDuration(adapter.load_duration()))));
  }
  fields.emplace_back("Last used",
                      adapter.has_last_use_time() ? FormatTime(adapter.last_use_time()) : "never");
  if (!adapter.error().empty()) fields.emplace_back("Error", adapter.error());
  return FormatFields(fields);
}

absl::StatusOr<ExitCode> Show(Session& session, const std::string& name) {
  if (absl::Status status = session.Connect(); !status.ok()) return status;
  const absl::StatusOr<v1::GetAdapterResponse> response = session.Run(
      "Asking", [&](const CallOptions& call) { return session.client().GetAdapter(name, call); });
  if (!response.ok()) return response.status();
  if (session.json()) {
    session.PrintJson(ToJson(*response));
    return ExitCode::kOk;
  }
  std::vector<std::vector<std::string>> rows;
  for (const auto& parameter : response->parameters()) {
    rows.push_back({parameter.name(), absl::StrCat(parameter.rows(), " x ", parameter.cols()),
                    FormatCount(parameter.entries()), absl::StrFormat("%.4g", parameter.norm())});
  }
  session.out().Write(absl::StrCat(FormatAdapterDetails(response->adapter()), "\n",
                                   FormatTable({{"PARAMETER"},
                                                {"SHAPE", Align::kRight},
                                                {"ENTRIES", Align::kRight},
                                                {"NORM", Align::kRight}},
                                               rows)));
  return ExitCode::kOk;
}

}  // namespace

CommandRunner SetUpAdapterShow(CLI::App& app) {
  const auto name = std::make_shared<std::string>();
  app.description("Show one adapter and the parameters that it changes");
  app.footer(
      "Examples:\n"
      "  shira adapter show pirate\n"
      "  shira adapter show pirate --json");
  app.add_option("NAME", *name, "The adapter")->type_name("")->required();
  return [name](Session& session) { return Show(session, *name); };
}

}  // namespace shira::cli
