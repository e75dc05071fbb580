#include <memory>
#include <optional>
#include <regex>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "base/problem_list.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "tools/adapter_output.h"
#include "tools/commands.h"
#include "tools/model.h"
#include "tools/parameter_name.h"
#include "tools/progress_bar.h"
#include "tools/sparse_builder.h"

namespace shira::tools {
namespace {

struct ExtractArguments {
  std::string base;
  std::string tuned;
  double density = 0;
  std::string include;
  std::string base_name;
  OutputOptions output;
};

// Which matrices are looked at: those that match, or without an expression the linear layers inside
// the numbered layers.
class Selection {
 public:
  static absl::StatusOr<Selection> Create(const std::string& include) {
    Selection selection;
    if (include.empty()) return selection;
    try {
      selection.include_.emplace(include, std::regex::ECMAScript | std::regex::optimize);
    } catch (const std::regex_error& error) {
      return absl::InvalidArgumentError(
          StrCat("--include: '", include, "' is no regular expression: ", error.what()));
    }
    return selection;
  }

  bool Contains(const TensorSpec& parameter) const {
    if (parameter.shape.size() != 2) return false;
    if (include_) return std::regex_search(parameter.name, *include_);
    return PlaceOf(parameter.name).layer.has_value();
  }

 private:
  std::optional<std::regex> include_;
};

// What differs outside of the selection: an adapter of the selection alone does not make the tuned
// model.
struct LeftOut {
  std::vector<std::string> parameters;
  double energy = 0;
};

absl::Status CheckSameModel(const Model& base, const Model& tuned,
                            const ExtractArguments& options) {
  const std::vector<TensorSpec> expected = base.source->config().Tensors();
  const std::vector<TensorSpec> found = tuned.source->config().Tensors();
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const TensorSpec& parameter : expected) shapes[parameter.name] = parameter.shape;
  ProblemList problems;
  for (const TensorSpec& parameter : found) {
    const auto shape = shapes.extract(parameter.name);
    if (shape.empty()) {
      problems.Add(parameter.name, ": the base has no such parameter");
    } else if (shape.mapped() != parameter.shape) {
      problems.Add(parameter.name, ": another shape than in the base");
    }
  }
  for (const auto& [name, shape] : shapes) problems.Add(name, ": only the base has it");
  return problems.ToStatus(absl::StatusCode::kInvalidArgument,
                           StrCat(options.base, " and ", options.tuned, " are not the same model"));
}

// tuned - base, with memory for two copies of the parameter.
absl::StatusOr<std::vector<float>> Difference(const Model& base, const Model& tuned,
                                              const TensorSpec& parameter) {
  SHIRA_ASSIGN_OR_RETURN(std::vector<float> difference, ReadParameter(*tuned.source, parameter));
  SHIRA_ASSIGN_OR_RETURN(const std::vector<float> from, ReadParameter(*base.source, parameter));
  for (size_t i = 0; i < difference.size(); ++i) difference[i] -= from[i];
  return difference;
}

absl::Status CompareAll(Session& session, const Model& base, const Model& tuned,
                        const Selection& selection, SparseBuilder& builder, LeftOut& left_out) {
  const std::vector<TensorSpec> parameters = base.source->config().Tensors();
  int64_t elements = 0;
  for (const TensorSpec& parameter : parameters) elements += parameter.elements();
  ProgressBar progress("Comparing", elements, session.err());
  for (const TensorSpec& parameter : parameters) {
    SHIRA_RETURN_IF_ERROR(progress.Advance(0, parameter.name));
    SHIRA_ASSIGN_OR_RETURN(const std::vector<float> difference, Difference(base, tuned, parameter));
    if (selection.Contains(parameter)) {
      SHIRA_RETURN_IF_ERROR(
          builder.Add(parameter.name, parameter.shape[0], parameter.shape[1], difference));
    } else {
      double energy = 0;
      for (const float value : difference) energy += static_cast<double>(value) * value;
      if (energy != 0) left_out.parameters.push_back(parameter.name);
      left_out.energy += energy;
    }
    SHIRA_RETURN_IF_ERROR(progress.Advance(parameter.elements(), parameter.name));
  }
  return absl::OkStatus();
}

std::string LeftOutText(const LeftOut& left_out, double energy) {
  if (left_out.parameters.empty()) return "";
  return absl::StrFormat(
      "\n%d other parameters differ too (%s%s) and are not in the adapter: %.2f %% of the whole "
      "difference's energy. --include selects.\n",
      left_out.parameters.size(), left_out.parameters.front(),
      left_out.parameters.size() > 1 ? ", ..." : "",
      100 * left_out.energy / (left_out.energy + energy));
}

absl::StatusOr<ExitCode> Extract(Session& session, const ExtractArguments& options) {
  SHIRA_ASSIGN_OR_RETURN(const Selection selection, Selection::Create(options.include));
  const AdapterWriter* writer = nullptr;
  if (!options.output.path.empty()) {
    SHIRA_ASSIGN_OR_RETURN(writer, CheckOutput(options.output));
  }
  SHIRA_ASSIGN_OR_RETURN(const Model base, OpenModel(options.base));
  SHIRA_ASSIGN_OR_RETURN(const Model tuned, OpenModel(options.tuned));
  SHIRA_RETURN_IF_ERROR(CheckSameModel(base, tuned, options));
  SparseBuilder builder(options.density);
  LeftOut left_out;
  SHIRA_RETURN_IF_ERROR(CompareAll(session, base, tuned, selection, builder, left_out));
  if (builder.accounts().empty()) {
    return absl::InvalidArgumentError(
        StrCat("--include: '", options.include, "' matches no matrix of ", options.base));
  }

  const Json left = {{"energy", left_out.energy}, {"parameters", left_out.parameters}};
  return FinishSparse(
      session, builder,
      {.base_model = options.base_name.empty() ? base.source->name() : options.base_name,
       .json = {{"left_out", left}},
       .text = LeftOutText(left_out, builder.total().energy)},
      writer, options.output);
}

}  // namespace

CommandRunner SetUpExtract(CLI::App& app) {
  const auto options = std::make_shared<ExtractArguments>();
  app.description(
      "Make a SHiRA adapter of two checkpoints: of each parameter's difference, the largest "
      "elements");
  app.footer(
      "Memory: one parameter at a time, and the entries that are kept.\n"
      "Examples:\n"
      "  shira-adapter extract --base llama --tuned llama-tuned --density 0.01 --out tuned.shira\n"
      "  shira-adapter extract --base llama --tuned llama-tuned --density 0.01     # only reports\n"
      "  shira-adapter extract --base llama --tuned llama-tuned --density 0.02 --include "
      "'self_attn\\.[qv]_proj' --out tuned");
  app.add_option("--base", options->base,
                 "The model before: a folder with config.json and safetensors, or a GGUF file")
      ->type_name("MODEL")
      ->required();
  app.add_option("--tuned", options->tuned, "The model after; same parameters")
      ->type_name("MODEL")
      ->required();
  AddDensityOption(app, options->density);
  app.add_option("--include", options->include,
                 "Take the matrices whose name matches this regular expression somewhere (default: "
                 "the linear layers inside the numbered layers)")
      ->type_name("REGEX");
  app.add_option("--base-name", options->base_name,
                 "What the adapter says that it belongs to (default: the base's own name)")
      ->type_name("NAME");
  app.add_option("--out", options->output.path, "Where to write; without it nothing is written")
      ->type_name("OUT");
  AddOutputOptions(app, options->output);
  return [options](Session& session) { return Extract(session, *options); };
}

}  // namespace shira::tools
