#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/atomic_file.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "base/terminal/text_table.h"
#include "tools/adapter_input.h"
#include "tools/adapter_stats.h"
#include "tools/commands.h"
#include "tools/heat_map.h"

namespace shira::tools {
namespace {

struct InspectArguments {
  std::string adapter;
  std::string model;
  std::string svg;
  bool all = false;
  bool force = false;
};

// Densities are shown only where the shapes are the model's.
std::string Density(const EntryStats& stats, bool exact_shapes) {
  return exact_shapes ? absl::StrFormat("%.3f %%", 100 * stats.density()) : "-";
}

std::vector<std::string> Row(const std::string& name, const EntryStats& stats, bool exact_shapes) {
  // How much a replacement changes depends on the weight that it meets.
  const bool known = stats.deltas() > 0;
  return {name, FormatCount(stats.entries), Density(stats, exact_shapes),
          known ? absl::StrFormat("%.4g", stats.norm()) : "-",
          known ? absl::StrFormat("%.4g", stats.largest) : "-"};
}

std::string Table(const std::string& heading, const std::vector<std::vector<std::string>>& rows) {
  return FormatTable({{heading},
                      {"ENTRIES", Align::kRight},
                      {"DENSITY", Align::kRight},
                      {"NORM", Align::kRight},
                      {"LARGEST", Align::kRight}},
                     rows);
}

EntryStats Total(const std::vector<ParameterStats>& all) {
  EntryStats total;
  for (const ParameterStats& one : all) total.Add(one.stats);
  return total;
}

// One table by part, one by layer, and with --all one by parameter.
std::string Tables(const std::vector<ParameterStats>& all, bool exact_shapes, bool by_parameter) {
  std::map<std::string, EntryStats> parts;
  std::map<int, EntryStats> layers;
  for (const ParameterStats& one : all) {
    parts[one.place.part].Add(one.stats);
    if (one.place.layer) layers[*one.place.layer].Add(one.stats);
  }
  std::vector<std::vector<std::string>> rows;
  for (const auto& [part, stats] : parts) rows.push_back(Row(part, stats, exact_shapes));
  rows.push_back(Row("total", Total(all), exact_shapes));
  std::string text = Table("PART", rows);
  rows.clear();
  for (const auto& [layer, stats] : layers) {
    rows.push_back(Row(absl::StrCat(layer), stats, exact_shapes));
  }
  if (!rows.empty()) StrAppend(&text, "\n", Table("LAYER", rows));
  if (!by_parameter) return text;
  rows.clear();
  for (const ParameterStats& one : all) rows.push_back(Row(one.parameter, one.stats, exact_shapes));
  return StrCat(text, "\n", Table("PARAMETER", rows));
}

HeatMap NormMap(const std::vector<ParameterStats>& all) {
  HeatMap map{"Norm of the change by layer and part", {}};
  for (const ParameterStats& one : all) {
    if (!one.place.layer || one.stats.deltas() == 0) continue;
    map.cells[{one.place.part, *one.place.layer}] = one.stats.norm();
  }
  return map;
}

std::string Summary(const AdapterInput& input, const std::vector<ParameterStats>& all) {
  const SparseAdapter& adapter = *input.adapter;
  const EntryStats total = Total(all);
  std::string entries = StrCat(FormatCount(total.entries), " in ", total.parameters, " parameters");
  if (input.exact_shapes) StrAppend(&entries, " (", Density(total, true), " of their elements)");
  if (total.zeros > 0) StrAppend(&entries, ", ", FormatCount(total.zeros), " of them zero");
  if (total.replacements > 0) {
    StrAppend(&entries, "; ", FormatCount(total.replacements), " take the place of weights");
  }
  std::vector<std::pair<std::string, std::string>> fields = {
      {"Format", adapter.format},
      {"Base model", adapter.base_model.empty() ? "not given" : adapter.base_model},
      {"SHA-256", adapter.digest.Hex()},
      {"Entries", entries},
      {"In memory", FormatBytes(adapter.memory_bytes())},
  };
  if (adapter.scale != 1) fields.push_back({"Scale", absl::StrCat(adapter.scale)});
  std::string text = FormatFields(fields);
  if (!input.exact_shapes) {
    text +=
        "The file does not say how large the matrices are: --model gives densities and checks "
        "it.\n";
  }
  return text;
}

Json ToJson(const AdapterInput& input, const std::vector<ParameterStats>& all) {
  const SparseAdapter& adapter = *input.adapter;
  const EntryStats total = Total(all);
  Json json = {{"format", adapter.format},
               {"base_model", adapter.base_model},
               {"sha256", adapter.digest.Hex()},
               {"scale", adapter.scale},
               {"entries", total.entries},
               {"replacements", total.replacements},
               {"zeros", total.zeros},
               {"norm", total.norm()},
               {"memory_bytes", adapter.memory_bytes()}};
  if (input.exact_shapes) json["density"] = total.density();
  json["parameters"] = Json::array();
  for (const ParameterStats& one : all) {
    Json parameter = {{"name", one.parameter}};
    if (input.exact_shapes) {
      parameter["shape"] = {one.rows, one.cols};
      parameter["density"] = one.stats.density();
    }
    parameter["entries"] = one.stats.entries;
    parameter["replacements"] = one.stats.replacements;
    parameter["zeros"] = one.stats.zeros;
    parameter["norm"] = one.stats.norm();
    parameter["largest"] = one.stats.largest;
    json["parameters"].push_back(std::move(parameter));
  }
  return json;
}

absl::Status WriteSvg(const HeatMap& map, const InspectArguments& options) {
  std::error_code error;
  if (!options.force && std::filesystem::exists(options.svg, error)) {
    return absl::AlreadyExistsError(StrCat(options.svg, " exists; --force replaces it"));
  }
  return WriteFileAtomically(options.svg, HeatMapSvg(map));
}

absl::StatusOr<ExitCode> Inspect(Session& session, const InspectArguments& options) {
  SHIRA_ASSIGN_OR_RETURN(const AdapterInput input, ReadAdapter(options.adapter, options.model));
  const std::vector<ParameterStats> all = StatsOf(*input.adapter);
  const HeatMap map = NormMap(all);
  if (!options.svg.empty()) SHIRA_RETURN_IF_ERROR(WriteSvg(map, options));
  if (session.json()) {
    session.PrintJson(ToJson(input, all));
    return ExitCode::kOk;
  }
  session.out().Write(
      StrCat(Summary(input, all), "\n", Tables(all, input.exact_shapes, options.all)));
  if (!map.empty()) session.out().Write("\n" + HeatMapText(map));
  if (!options.svg.empty()) session.out().Write(StrCat("\nWrote ", options.svg, "\n"));
  return ExitCode::kOk;
}

}  // namespace

CommandRunner SetUpInspect(CLI::App& app) {
  const auto options = std::make_shared<InspectArguments>();
  app.description("Show what an adapter changes, and how much, by layer and part of the model");
  app.footer(
      "Examples:\n"
      "  shira-adapter inspect examples/adapters/pirate\n"
      "  shira-adapter inspect examples/adapters/pirate --model smollm2.gguf --svg norms.svg\n"
      "  shira-adapter inspect examples/adapters/pirate --json | jq .entries");
  app.add_option("ADAPTER", options->adapter, "The adapter: a folder or a file")
      ->type_name("")
      ->required();
  app.add_option("--model", options->model,
                 "Its model, a folder or a GGUF file: for densities, and to check everything")
      ->type_name("MODEL");
  app.add_flag("--all", options->all, "Also show every parameter");
  app.add_option("--svg", options->svg, "Write the heat map to this file")->type_name("FILE");
  app.add_flag("--force", options->force, "Replace FILE");
  return [options](Session& session) { return Inspect(session, *options); };
}

}  // namespace shira::tools
