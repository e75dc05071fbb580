#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/commands.h"
#include "client/cli/format.h"
#include "client/cli/json_output.h"

namespace shira::cli {
namespace {

constexpr char kStates[] = "LOADING, READY, UNLOADING or FAILED";
constexpr char kResidencies[] = "ON_DISK, IN_MEMORY or FUSED";

absl::StatusOr<ExitCode> List(Session& session, const v1::ListAdaptersRequest& request) {
  if (absl::Status status = session.Connect(); !status.ok()) return status;
  const absl::StatusOr<std::vector<v1::Adapter>> adapters = session.Run(
      "Listing",
      [&](const CallOptions& call) { return session.client().ListAdapters(request, call); });
  if (!adapters.ok()) return adapters.status();
  if (session.json()) {
    Json array = Json::array();
    for (const v1::Adapter& adapter : *adapters) array.push_back(ToJson(adapter));
    session.PrintJson({{"adapters", std::move(array)}});
    return ExitCode::kOk;
  }
  std::vector<std::vector<std::string>> rows;
  for (const v1::Adapter& adapter : *adapters) {
    rows.push_back({adapter.name(), absl::StrCat(adapter.version()), StateName(adapter.state()),
                    ResidencyName(adapter.residency()), FormatCount(adapter.entries()),
                    absl::StrFormat("%.2f %%", 100 * adapter.density()),
                    FormatBytes(adapter.memory_bytes()), absl::StrCat(adapter.running_requests()),
                    ShortDigest(adapter.sha256())});
  }
  session.out().Write(FormatTable({{"NAME"},
                                   {"VERSION", Align::kRight},
                                   {"STATE"},
                                   {"RESIDENCY"},
                                   {"ENTRIES", Align::kRight},
                                   {"DENSITY", Align::kRight},
                                   {"MEMORY", Align::kRight},
                                   {"REQUESTS", Align::kRight},
                                   {"SHA256"}},
                                  rows));
  for (const v1::Adapter& adapter : *adapters) {
    if (!adapter.error().empty())
      session.out().Write(absl::StrCat(adapter.name(), ": ", adapter.error(), "\n"));
  }
  return ExitCode::kOk;
}

}  // namespace

CommandRunner SetUpAdapterList(CLI::App& app) {
  app.description("List the adapters that the server knows");
  app.footer(
      "Examples:\n"
      "  shira adapter list\n"
      "  shira adapter list --prefix team/ --state READY --json");
  const auto request = std::make_shared<v1::ListAdaptersRequest>();
  app.add_option_function<std::string>(
         "--prefix", [request](const std::string& prefix) { request->set_name_prefix(prefix); },
         "Only names that begin with this")
      ->type_name("TEXT");
  app.add_option_function<std::vector<std::string>>(
         "--state",
         [request](const std::vector<std::string>& names) {
           for (const std::string& name : names) {
             v1::AdapterState state;
             if (!v1::AdapterState_Parse(absl::StrCat("ADAPTER_STATE_", name), &state))
               throw CLI::ValidationError("--state", absl::StrCat("expected ", kStates));
             request->add_states(state);
           }
         },
         absl::StrCat("Only those that are ", kStates, " (repeatable)"))
      ->type_name("STATE")
      ->allow_extra_args(false);
  app.add_option_function<std::vector<std::string>>(
         "--residency",
         [request](const std::vector<std::string>& names) {
           for (const std::string& name : names) {
             v1::AdapterResidency residency;
             if (!v1::AdapterResidency_Parse(absl::StrCat("ADAPTER_RESIDENCY_", name), &residency))
               throw CLI::ValidationError("--residency", absl::StrCat("expected ", kResidencies));
             request->add_residencies(residency);
           }
         },
         absl::StrCat("Only those that are ", kResidencies, " (repeatable)"))
      ->type_name("RESIDENCY")
      ->allow_extra_args(false);
  return [request](Session& session) { return List(session, *request); };
}

}  // namespace shira::cli
