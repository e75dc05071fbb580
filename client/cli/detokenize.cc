#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cli/commands.h"
#include "client/cli/json_output.h"

namespace shira::cli {
namespace {

struct DetokenizeArguments {
  std::vector<int32_t> ids;
  bool skip_special_tokens = false;
};

absl::StatusOr<ExitCode> Detokenize(Session& session, const DetokenizeArguments& options) {
  if (absl::Status status = session.Connect(); !status.ok()) return status;

  v1::DetokenizeRequest request;
  request.mutable_ids()->Add(options.ids.begin(), options.ids.end());
  request.set_skip_special_tokens(options.skip_special_tokens);
  const absl::StatusOr<v1::DetokenizeResponse> response = session.Run(
      "Detokenizing",
      [&](const CallOptions& call) { return session.client().Detokenize(request, call); });
  if (!response.ok()) return response.status();
  if (session.json()) {
    session.PrintJson(ToJson(*response));
  } else {
    session.out().Write(response->text() + "\n");
  }
  return ExitCode::kOk;
}

}  // namespace

CommandRunner SetUpDetokenize(CLI::App& app) {
  const auto options = std::make_shared<DetokenizeArguments>();
  app.description("Turn token ids into text");
  app.footer(
      "Example:\n"
      "  shira detokenize 19556 28 905");
  app.add_option("IDS", options->ids, "The token ids")->type_name("")->required();
  app.add_flag("--skip-special-tokens", options->skip_special_tokens,
               "Leave special tokens out of the text");
  return [options](Session& session) { return Detokenize(session, *options); };
}

}  // namespace shira::cli
