#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/json_output.h"

namespace shira::cli {
namespace {

template <typename Response>
absl::StatusOr<ExitCode> Print(Session& session, const absl::StatusOr<Response>& response,
                               absl::string_view what) {
  if (!response.ok()) return response.status();
  const v1::Adapter& adapter = response->adapter();
  if (session.json()) {
    session.PrintJson({{"adapter", ToJson(adapter)}});
  } else {
    session.out().Write(absl::StrCat(what, " ", adapter.name(), " v", adapter.version(), "\n"));
  }
  return ExitCode::kOk;
}

std::shared_ptr<std::string> AddName(CLI::App& app) {
  const auto name = std::make_shared<std::string>();
  app.add_option("NAME", *name, "The adapter")->type_name("")->required();
  return name;
}

}  // namespace

CommandRunner SetUpAdapterPin(CLI::App& app) {
  app.description("Keep an adapter in memory, whatever room is needed");
  app.footer(
      "A pinned adapter is never read from the disk again, and its next version is pinned too.\n"
      "Example:\n"
      "  shira adapter pin pirate");
  return [name = AddName(app)](Session& session) -> absl::StatusOr<ExitCode> {
    if (absl::Status status = session.Connect(); !status.ok()) return status;
    return Print(session,
                 session.Run(absl::StrCat("Pinning ", *name),
                             [&](const CallOptions& call) {
                               return session.client().PinAdapter(*name, call);
                             }),
                 "Pinned");
  };
}

CommandRunner SetUpAdapterUnpin(CLI::App& app) {
  app.description("Let an adapter leave memory again when room is needed");
  app.footer(
      "Example:\n"
      "  shira adapter unpin pirate");
  return [name = AddName(app)](Session& session) -> absl::StatusOr<ExitCode> {
    if (absl::Status status = session.Connect(); !status.ok()) return status;
    return Print(session,
                 session.Run(absl::StrCat("Unpinning ", *name),
                             [&](const CallOptions& call) {
                               return session.client().UnpinAdapter(*name, call);
                             }),
                 "Unpinned");
  };
}

}  // namespace shira::cli
