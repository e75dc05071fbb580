#include <cmath>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/json_output.h"

namespace shira::cli {
namespace {

struct UnloadArguments {
  std::string name;
  bool cancel = false;
  std::optional<double> wait_seconds;
};

absl::StatusOr<ExitCode> Unload(Session& session, const UnloadArguments& options) {
  if (absl::Status status = session.Connect(); !status.ok()) return status;
  v1::UnloadAdapterRequest request;
  request.set_name(options.name);
  request.set_cancel_running(options.cancel);
  if (options.wait_seconds) {
    double whole;
    const double fraction = std::modf(*options.wait_seconds, &whole);
    request.mutable_timeout()->set_seconds(static_cast<int64_t>(whole));
    request.mutable_timeout()->set_nanos(static_cast<int32_t>(fraction * 1e9));
  }
  const absl::Status status = session.Run(
      absl::StrCat("Unloading ", options.name),
      [&](const CallOptions& call) { return session.client().UnloadAdapter(request, call); });
  if (!status.ok()) return status;
  if (session.json()) {
    session.PrintJson({{"unloaded", options.name}});
  } else {
    session.out().Write(absl::StrCat("Unloaded ", options.name, "\n"));
  }
  return ExitCode::kOk;
}

}  // namespace

CommandRunner SetUpAdapterUnload(CLI::App& app) {
  constexpr double kMostSeconds = 1e9;
  const auto options = std::make_shared<UnloadArguments>();
  app.description("Forget an adapter and free its memory");
  app.footer(
      "Waits for the requests that use it; if they do not end in time, the adapter stays (exit "
      "status 124).\n"
      "Examples:\n"
      "  shira adapter unload pirate --wait 10\n"
      "  shira adapter unload pirate --cancel");
  app.add_option("NAME", options->name, "The adapter")->type_name("")->required();
  app.add_flag("--cancel", options->cancel,
               "Cancel the requests that use it instead of waiting for them");
  app.add_option("--wait", options->wait_seconds,
                 "How long to wait for them, in seconds (default: as long as --timeout says)")
      ->type_name("S")
      ->check(CLI::Range(0.0, kMostSeconds));
  return [options](Session& session) { return Unload(session, *options); };
}

}  // namespace shira::cli
