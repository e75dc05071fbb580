#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/adapter_spec.h"
#include "client/cli/commands.h"
#include "client/cli/format.h"
#include "client/cli/json_output.h"

namespace shira::cli {
namespace {

struct Arguments {
  v1::CreateBlendRequest request;
  std::vector<std::string> parts;
  bool parameters = false;
};

// "x (12.3 % of the elements touched)".
std::string WithShare(int64_t count, const v1::BlendOverlap& total) {
  const double share =
      total.union_entries() > 0 ? 100.0 * static_cast<double>(count) / total.union_entries() : 0;
  return absl::StrFormat("%s (%.1f %%)", FormatCount(count), share);
}

std::string FormatTotal(const v1::BlendOverlap& total) {
  return FormatFields({{"Entries of the parts", FormatCount(total.part_entries())},
                       {"Elements touched", FormatCount(total.union_entries())},
                       {"By more than one part", WithShare(total.shared_entries(), total)},
                       {"With opposite signs", WithShare(total.sign_conflicts(), total)},
                       {"Entries of the blend", WithShare(total.blend_entries(), total)},
                       {"Energy kept", absl::StrFormat("%.1f %%", 100 * total.energy_kept())}});
}

std::vector<std::string> OverlapCells(const std::string& name, const v1::BlendOverlap& overlap) {
  return {name,
          FormatCount(overlap.part_entries()),
          FormatCount(overlap.shared_entries()),
          FormatCount(overlap.sign_conflicts()),
          FormatCount(overlap.blend_entries()),
          absl::StrFormat("%.1f %%", 100 * overlap.energy_kept())};
}

std::string FormatParameters(const v1::CreateBlendResponse& response) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& parameter : response.parameters()) {
    rows.push_back(OverlapCells(parameter.name(), parameter.overlap()));
  }
  rows.push_back(OverlapCells("total", response.total()));
  return FormatTable({{"PARAMETER"},
                      {"PARTS", Align::kRight},
                      {"SHARED", Align::kRight},
                      {"CONFLICTS", Align::kRight},
                      {"BLEND", Align::kRight},
                      {"ENERGY", Align::kRight}},
                     rows);
}

absl::StatusOr<ExitCode> Create(Session& session, const Arguments& arguments) {
  v1::CreateBlendRequest request = arguments.request;
  const auto parts = ParseAdapterSpecs(arguments.parts);
  if (!parts.ok()) return parts.status();
  request.mutable_parts()->Assign(parts->begin(), parts->end());
  if (absl::Status status = session.Connect(); !status.ok()) return status;
  const absl::StatusOr<v1::CreateBlendResponse> response = session.Run(
      absl::StrCat("Blending ", request.name()),
      [&](const CallOptions& call) { return session.client().CreateBlend(request, call); });
  if (!response.ok()) return response.status();
  if (session.json()) {
    session.PrintJson(ToJson(*response));
    return ExitCode::kOk;
  }
  const v1::Adapter& adapter = response->adapter();
  session.out().Write(absl::StrFormat("%s %s v%d: %s entries in %d parameters, sha256 %s\n\n",
                                      response->already_created() ? "Already created" : "Created",
                                      adapter.name(), adapter.version(),
                                      FormatCount(adapter.entries()), adapter.parameter_count(),
                                      ShortDigest(adapter.sha256())));
  session.out().Write(arguments.parameters ? FormatParameters(*response)
                                           : FormatTotal(response->total()));
  return ExitCode::kOk;
}

}  // namespace

CommandRunner SetUpBlendCreate(CLI::App& app) {
  static const std::map<std::string, v1::FusionRule> kRules = {
      {"sum", v1::FUSION_RULE_SUM},   {"ties", v1::FUSION_RULE_TIES},
      {"dare", v1::FUSION_RULE_DARE}, {"dare-ties", v1::FUSION_RULE_DARE_TIES},
      {"max", v1::FUSION_RULE_MAX},   {"pruned", v1::FUSION_RULE_PRUNED}};
  const auto arguments = std::make_shared<Arguments>();
  v1::CreateBlendRequest& request = arguments->request;
  app.description("Make one adapter out of several, by a rule");
  app.footer(
      "The result is an adapter like any other, and needs its parts no more. Rules:\n"
      "  sum        weighted sum\n"
      "  ties       TIES: the largest entries of each part; where signs differ, those of the "
      "elected "
      "one\n"
      "  dare       DARE: random entries of each part, scaled up; weighted sum\n"
      "  dare-ties  random entries as in dare, combined as in ties\n"
      "  max        the weighted entry of the largest magnitude\n"
      "  pruned     the largest entries of each part; weighted sum\n"
      "Examples:\n"
      "  shira blend create crew --part pirate:0.5 --part party:0.5\n"
      "  shira blend create crew --part pirate --part json --rule ties --density 0.3");
  app.add_option_function<std::string>(
         "NAME", [&request](const std::string& name) { request.set_name(name); },
         "Name of the new adapter")
      ->type_name("")
      ->required();
  app.add_option("--part", arguments->parts,
                 "An adapter, with a weight that is 1 when not given; once for each part")
      ->type_name("NAME[:W]")
      ->check(AdapterSpecValidator().description(""))
      ->required();
  app.add_option_function<std::string>(
         "--rule", [&request](const std::string& rule) { request.set_rule(kRules.at(rule)); },
         "sum, ties, dare, dare-ties, max or pruned (default: sum)")
      ->type_name("RULE")
      ->check(CLI::IsMember(&kRules).description(""));
  app.add_option_function<double>(
         "--density", [&request](double density) { request.set_density(density); },
         "What ties, dare, dare-ties and pruned keep of each part: above 0, at most 1")
      ->type_name("FRACTION");
  app.add_option_function<uint64_t>(
         "--seed", [&request](uint64_t seed) { request.set_seed(seed); },
         "Of the random choice of dare and dare-ties (default: 0)")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber.description(""));
  app.add_option_function<std::string>(
         "--save", [&request](const std::string& path) { request.set_save_path(path); },
         "Write it too, below an adapter root of the server: a packed file if PATH ends in .shira, "
         "else a PEFT folder")
      ->type_name("PATH");
  app.add_flag("--parameters", arguments->parameters,
               "Print how the parts met in each parameter, and not only in total");
  return [arguments](Session& session) { return Create(session, *arguments); };
}

}  // namespace shira::cli
