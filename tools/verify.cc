#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "base/terminal/text_table.h"
#include "tools/commands.h"
#include "tools/model.h"

namespace shira::tools {
namespace {

struct VerifyArguments {
  std::string adapter;
  std::string model;
};

// The reader's one error as the list that it was made of (base/problem_list.h).
std::vector<std::string> Problems(const absl::Status& status) {
  return absl::StrSplit(status.message(), "; ");
}

// Whether the reader's error is about the adapter and not about a file that is not there.
bool IsVerdict(const absl::Status& status) {
  return absl::IsInvalidArgument(status) || absl::IsFailedPrecondition(status) ||
         absl::IsUnimplemented(status) || absl::IsDataLoss(status);
}

absl::StatusOr<ExitCode> Verify(Session& session, const VerifyArguments& options) {
  SHIRA_ASSIGN_OR_RETURN(Model model, OpenModel(options.model));
  const std::string names = absl::StrJoin(model.identity.names, ", ");
  const auto adapter = AdapterReader(std::move(model.identity), {}).Read(options.adapter);
  if (!adapter.ok() && !IsVerdict(adapter.status())) return adapter.status();
  const std::vector<std::string> problems =
      adapter.ok() ? std::vector<std::string>() : Problems(adapter.status());
  if (session.json()) {
    Json json = {{"adapter", options.adapter}, {"model", options.model}, {"fits", adapter.ok()}};
    if (adapter.ok()) {
      json["sha256"] = (*adapter)->digest.Hex();
      json["entries"] = (*adapter)->entries();
    }
    json["problems"] = problems;
    session.PrintJson(json);
  } else if (adapter.ok()) {
    session.out().Write(StrCat(options.adapter, " fits ", options.model, " (", names,
                               "): ", FormatCount((*adapter)->entries()), " entries in ",
                               (*adapter)->deltas.size(), " parameters\n"));
  } else {
    session.out().Write(StrCat(options.adapter, " does not fit ", options.model, " (", names,
                               "):\n  ", absl::StrJoin(problems, "\n  "), "\n"));
  }
  return adapter.ok() ? ExitCode::kOk : ExitCode::kMismatch;
}

}  // namespace

CommandRunner SetUpVerify(CLI::App& app) {
  const auto options = std::make_shared<VerifyArguments>();
  app.description("Check an adapter against a model as the server does when it loads it");
  app.footer(
      "Exit status 4 if the adapter does not fit; every problem is listed.\n"
      "Examples:\n"
      "  shira-adapter verify pirate --model smollm2.gguf\n"
      "  shira-adapter verify pirate --model llama --json | jq .problems");
  app.add_option("ADAPTER", options->adapter, "The adapter: a folder or a file")
      ->type_name("")
      ->required();
  app.add_option("--model", options->model, "The model: a folder or a GGUF file")
      ->type_name("MODEL")
      ->required();
  return [options](Session& session) { return Verify(session, *options); };
}

}  // namespace shira::tools
