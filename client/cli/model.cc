#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/commands.h"
#include "client/cli/format.h"
#include "client/cli/json_output.h"

namespace shira::cli {
namespace {

absl::StatusOr<ExitCode> Model(Session& session) {
  if (absl::Status status = session.Connect(); !status.ok()) return status;
  const absl::StatusOr<v1::GetModelResponse> model = session.Run(
      "Asking", [&](const CallOptions& call) { return session.client().GetModel(call); });
  if (!model.ok()) return model.status();
  if (session.json()) {
    session.PrintJson(ToJson(*model));
    return ExitCode::kOk;
  }
  session.out().Write(FormatFields({
      {"Name", model->name()},
      {"Architecture", model->architecture()},
      {"Parameters", FormatCount(model->parameter_count())},
      {"Weights", absl::StrCat(FormatBytes(model->weight_bytes()), " in ", model->dtype())},
      {"Layers", absl::StrCat(model->num_layers(), " of width ", model->hidden_size())},
      {"Vocabulary", absl::StrCat(FormatCount(model->vocab_size()), " tokens")},
      {"Context", absl::StrCat(FormatCount(model->context_length()), " tokens")},
      {"End tokens", absl::StrJoin(model->eos_token_ids(), " ")},
      {"Chat template", model->has_chat_template() ? "yes" : "no"},
      {"Base SHA-256", model->base_sha256()},
      {"Server version", model->server_version()},
  }));
  return ExitCode::kOk;
}

}  // namespace

CommandRunner SetUpModel(CLI::App& app) {
  app.description("Show what model the server has");
  app.footer(
      "Examples:\n"
      "  shira model\n"
      "  shira model --json");
  return &Model;
}

}  // namespace shira::cli
