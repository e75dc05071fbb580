#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "base/terminal/text_table.h"
#include "tools/adapter_difference.h"
#include "tools/adapter_input.h"
#include "tools/commands.h"
#include "tools/parameter_name.h"

namespace shira::tools {
namespace {

struct DiffArguments {
  std::string a;
  std::string b;
  std::string model;
  bool all = false;
};

std::vector<std::string> Row(const std::string& name, const Overlap& overlap) {
  return {name,
          FormatCount(overlap.entries_a),
          FormatCount(overlap.entries_b),
          FormatCount(overlap.common),
          absl::StrFormat("%.2f %%", 100 * overlap.jaccard()),
          FormatCount(overlap.equal),
          FormatCount(overlap.sign_conflicts),
          absl::StrFormat("%+.4f", overlap.cosine())};
}

std::string Text(const std::vector<ParameterOverlap>& parameters, const Overlap& total, bool all) {
  std::vector<std::vector<std::string>> rows;
  if (all) {
    for (const ParameterOverlap& one : parameters) rows.push_back(Row(one.parameter, one.overlap));
  } else {
    std::map<std::string, Overlap> parts;
    for (const ParameterOverlap& one : parameters) {
      parts[PlaceOf(one.parameter).part].Add(one.overlap);
    }
    for (const auto& [part, overlap] : parts) rows.push_back(Row(part, overlap));
  }
  rows.push_back(Row("total", total));
  return FormatTable({{all ? "PARAMETER" : "PART"},
                      {"IN A", Align::kRight},
                      {"IN B", Align::kRight},
                      {"IN BOTH", Align::kRight},
                      {"OF ALL", Align::kRight},
                      {"EQUAL", Align::kRight},
                      {"SIGN CONFLICTS", Align::kRight},
                      {"COSINE", Align::kRight}},
                     rows);
}

Json ToJson(const Overlap& overlap) {
  return {{"entries_a", overlap.entries_a}, {"entries_b", overlap.entries_b},
          {"common", overlap.common},       {"jaccard", overlap.jaccard()},
          {"equal", overlap.equal},         {"sign_conflicts", overlap.sign_conflicts},
          {"cosine", overlap.cosine()}};
}

absl::StatusOr<ExitCode> Diff(Session& session, const DiffArguments& options) {
  SHIRA_ASSIGN_OR_RETURN(const std::vector<AdapterInput> inputs,
                         ReadComparable(options.a, options.b, options.model));
  const std::vector<ParameterOverlap> parameters = Compare(*inputs[0].adapter, *inputs[1].adapter);
  Overlap total;
  for (const ParameterOverlap& one : parameters) total.Add(one.overlap);
  if (!session.json()) {
    session.out().Write(Text(parameters, total, options.all));
    return ExitCode::kOk;
  }
  Json json = {{"total", ToJson(total)}, {"parameters", Json::array()}};
  for (const ParameterOverlap& one : parameters) {
    Json parameter = {{"name", one.parameter}};
    parameter.update(ToJson(one.overlap));
    json["parameters"].push_back(std::move(parameter));
  }
  session.PrintJson(json);
  return ExitCode::kOk;
}

}  // namespace

CommandRunner SetUpDiff(CLI::App& app) {
  const auto options = std::make_shared<DiffArguments>();
  app.description("Compare two adapters: common positions, conflicting signs, cosine similarity");
  app.footer(
      "OF ALL is the common positions' part of all positions; COSINE takes both as vectors over "
      "the "
      "whole matrices.\n"
      "Examples:\n"
      "  shira-adapter diff pirate party\n"
      "  shira-adapter diff pirate party --json | jq .total.cosine");
  app.add_option("A", options->a, "An adapter: a folder or a file")->type_name("")->required();
  app.add_option("B", options->b, "Another")->type_name("")->required();
  app.add_option("--model", options->model,
                 "Their model, a folder or a GGUF file, to check everything")
      ->type_name("MODEL");
  app.add_flag("--all", options->all, "Show every parameter instead of parts of the model");
  return [options](Session& session) { return Diff(session, *options); };
}

}  // namespace shira::tools
