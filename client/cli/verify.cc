#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "client/cli/commands.h"
#include "client/cli/format.h"
#include "client/cli/json_output.h"

namespace shira::cli {
namespace {

// What a parameter's hashes say about it.
absl::string_view Verdict(const v1::VerifyWeightsResponse::Parameter& parameter) {
  if (parameter.sha256() != parameter.expected_sha256()) return "MISMATCH";
  return parameter.sha256() == parameter.base_sha256() ? "as the base" : "adapted, as expected";
}

void Print(Session& session, const v1::VerifyWeightsResponse& response) {
  std::vector<std::vector<std::string>> rows;
  int mismatches = 0;
  for (const auto& parameter : response.parameters()) {
    const absl::string_view verdict = Verdict(parameter);
    if (verdict == "MISMATCH") ++mismatches;
    rows.push_back({parameter.name(), parameter.sha256(), std::string(verdict)});
  }
  session.out().Write(FormatTable({{"PARAMETER"}, {"SHA256"}, {"VERDICT"}}, rows));
  session.out().Write(absl::StrFormat(
      "\nState: %s\n%s\n", FormatAdapters(response.state().adapters()),
      response.matches_expected()
          ? absl::StrCat("All ", response.parameters_size(),
                         " parameters are what this state makes of the base",
                         response.matches_base() ? ", and equal the base." : ".")
          : absl::StrCat(mismatches, " of ", response.parameters_size(),
                         " parameters are NOT what this state makes of the base.")));
}

absl::StatusOr<ExitCode> Verify(Session& session) {
  if (absl::Status status = session.Connect(); !status.ok()) return status;
  const absl::StatusOr<v1::VerifyWeightsResponse> response =
      session.Run("Hashing the weights",
                  [&](const CallOptions& call) { return session.client().VerifyWeights(call); });
  if (!response.ok()) return response.status();
  if (session.json()) {
    session.PrintJson(ToJson(*response));
  } else {
    Print(session, *response);
  }
  return response->matches_expected() ? ExitCode::kOk : ExitCode::kMismatch;
}

}  // namespace

CommandRunner SetUpVerify(CLI::App& app) {
  app.description(
      "Hash every parameter of the resident weights and compare with the base and the expected "
      "state");
  app.footer(
      "Exit status 4 if a parameter is not what the resident state makes of the base.\n"
      "Examples:\n"
      "  shira verify\n"
      "  shira verify --json | jq .matches_base");
  return &Verify;
}

}  // namespace shira::cli
