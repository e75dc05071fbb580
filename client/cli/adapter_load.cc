#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/commands.h"
#include "client/cli/format.h"
#include "client/cli/json_output.h"

namespace shira::cli {
namespace {

absl::StatusOr<ExitCode> Load(Session& session, const v1::LoadAdapterRequest& request) {
  if (absl::Status status = session.Connect(); !status.ok()) return status;
  const absl::StatusOr<v1::LoadAdapterResponse> response = session.Run(
      absl::StrCat("Loading ", request.name()),
      [&](const CallOptions& call) { return session.client().LoadAdapter(request, call); });
  if (!response.ok()) return response.status();
  if (session.json()) {
    session.PrintJson(ToJson(*response));
    return ExitCode::kOk;
  }
  const v1::Adapter& adapter = response->adapter();
  session.out().Write(absl::StrFormat(
      "%s %s v%d: %s entries in %d parameters, %s, %s, sha256 %s\n",
      response->already_loaded() ? "Already loaded" : "Loaded", adapter.name(), adapter.version(),
      FormatCount(adapter.entries()), adapter.parameter_count(),
      FormatBytes(adapter.memory_bytes()), FormatTimeSpan(ToDuration(adapter.load_duration())),
      ShortDigest(adapter.sha256())));
  return ExitCode::kOk;
}

}  // namespace

CommandRunner SetUpAdapterLoad(CLI::App& app) {
  const auto request = std::make_shared<v1::LoadAdapterRequest>();
  app.description("Load an adapter from a folder on the server");
  app.footer(
      "The folder is below one of the server's adapter roots. Loading what is loaded already "
      "succeeds.\n"
      "Examples:\n"
      "  shira adapter load pirate /srv/adapters/pirate\n"
      "  shira adapter load team/json json-v2 --replace --json");
  app.add_option_function<std::string>(
         "NAME", [request](const std::string& name) { request->set_name(name); },
         "Name to load it under")
      ->type_name("")
      ->required();
  app.add_option_function<std::string>(
         "PATH", [request](const std::string& path) { request->set_path(path); },
         "Its folder on the server: absolute, or relative to an adapter root")
      ->type_name("")
      ->required();
  app.add_option_function<std::string>(
         "--sha256", [request](const std::string& digest) { request->set_expected_sha256(digest); },
         "Refuse the adapter unless its content has this digest")
      ->type_name("HEX");
  app.add_flag_function(
      "--replace", [request](int64_t) { request->set_replace(true); },
      "Make it the next version if the name is loaded with other content");
  return [request](Session& session) { return Load(session, *request); };
}

}  // namespace shira::cli
