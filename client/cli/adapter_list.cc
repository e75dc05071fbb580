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

absl::StatusOr<ExitCode> List(Session& session) {
  if (absl::Status status = session.Connect(); !status.ok()) return status;
  const absl::StatusOr<std::vector<v1::Adapter>> adapters = session.Run(
      "Listing", [&](const CallOptions& call) { return session.client().ListAdapters(call); });
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
      "  shira adapter list --json");
  return &List;
}

}  // namespace shira::cli
