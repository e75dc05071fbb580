#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/terminal/text_table.h"
#include "client/cli/commands.h"
#include "client/cli/json_output.h"

namespace shira::cli {
namespace {

std::string Format(const v1::AliasTarget& target) {
  return absl::StrCat(target.name(), "@", target.version());
}

absl::StatusOr<ExitCode> Print(Session& session, const absl::StatusOr<v1::Alias>& alias) {
  if (!alias.ok()) return alias.status();
  if (session.json()) {
    session.PrintJson({{"alias", ToJson(*alias)}});
  } else {
    session.out().Write(absl::StrCat(alias->name(), " -> ", Format(alias->target()), "\n"));
  }
  return ExitCode::kOk;
}

absl::StatusOr<ExitCode> List(Session& session) {
  if (absl::Status status = session.Connect(); !status.ok()) return status;
  const absl::StatusOr<std::vector<v1::Alias>> aliases = session.Run(
      "Listing", [&](const CallOptions& call) { return session.client().ListAliases(call); });
  if (!aliases.ok()) return aliases.status();
  if (session.json()) {
    Json array = Json::array();
    for (const v1::Alias& alias : *aliases) array.push_back(ToJson(alias));
    session.PrintJson({{"aliases", std::move(array)}});
    return ExitCode::kOk;
  }
  std::vector<std::vector<std::string>> rows;
  for (const v1::Alias& alias : *aliases) {
    rows.push_back(
        {alias.name(), Format(alias.target()),
         absl::StrJoin(alias.history(), " ", [](std::string* out, const v1::AliasTarget& target) {
           out->append(Format(target));
         })});
  }
  session.out().Write(FormatTable({{"ALIAS"}, {"TARGET"}, {"BEFORE"}}, rows));
  return ExitCode::kOk;
}

std::shared_ptr<std::string> AddName(CLI::App& app) {
  const auto name = std::make_shared<std::string>();
  app.add_option("ALIAS", *name, "The alias")->type_name("")->required();
  return name;
}

}  // namespace

CommandRunner SetUpAliasSet(CLI::App& app) {
  const auto name = AddName(app);
  const auto target = std::make_shared<std::string>();
  app.description("Make an alias for one version of an adapter, or move it");
  app.footer(
      "Every request that comes after it uses the new target; running ones end on the old one.\n"
      "Examples:\n"
      "  shira alias set prod pirate\n"
      "  shira alias set prod pirate@3");
  app.add_option("ADAPTER", *target, "Its current version, or NAME@VERSION")
      ->type_name("")
      ->required();
  return [name, target](Session& session) -> absl::StatusOr<ExitCode> {
    if (absl::Status status = session.Connect(); !status.ok()) return status;
    return Print(session, session.Run("", [&](const CallOptions& call) {
      return session.client().SetAlias(*name, *target, call);
    }));
  };
}

CommandRunner SetUpAliasRollback(CLI::App& app) {
  const auto name = AddName(app);
  app.description("Move an alias back to its target before");
  app.footer(
      "Example:\n"
      "  shira alias rollback prod");
  return [name](Session& session) -> absl::StatusOr<ExitCode> {
    if (absl::Status status = session.Connect(); !status.ok()) return status;
    return Print(session, session.Run("", [&](const CallOptions& call) {
      return session.client().RollbackAlias(*name, call);
    }));
  };
}

CommandRunner SetUpAliasDelete(CLI::App& app) {
  const auto name = AddName(app);
  app.description("Forget an alias");
  app.footer(
      "Old versions that only this alias has kept loaded are unloaded.\n"
      "Example:\n"
      "  shira alias delete prod");
  return [name](Session& session) -> absl::StatusOr<ExitCode> {
    if (absl::Status status = session.Connect(); !status.ok()) return status;
    const absl::Status status = session.Run(
        "", [&](const CallOptions& call) { return session.client().DeleteAlias(*name, call); });
    if (!status.ok()) return status;
    if (session.json()) {
      session.PrintJson({{"deleted", *name}});
    } else {
      session.out().Write(absl::StrCat("Deleted ", *name, "\n"));
    }
    return ExitCode::kOk;
  };
}

CommandRunner SetUpAliasList(CLI::App& app) {
  app.description("List the aliases, and what each named before");
  app.footer(
      "Example:\n"
      "  shira alias list --json");
  return &List;
}

}  // namespace shira::cli
