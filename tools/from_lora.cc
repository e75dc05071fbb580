#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/str_join.h"
#include "adapters/format/base_name.h"
#include "base/problem_list.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "tools/adapter_output.h"
#include "tools/commands.h"
#include "tools/lora.h"
#include "tools/model.h"
#include "tools/progress_bar.h"
#include "tools/sparse_builder.h"
#include "tools/threads.h"

namespace shira::tools {
namespace {

struct FromLoraArguments {
  std::string lora;
  std::string base = "none";
  double density = 0;
  OutputOptions output;
};

absl::Status CheckBase(const LoraAdapter& lora, const std::string& lora_path,
                       const std::string& base) {
  SHIRA_ASSIGN_OR_RETURN(const Model model, OpenModel(base));
  if (ContradictsBaseName(lora.base_model, model.identity.names)) {
    return absl::FailedPreconditionError(StrCat(lora_path, ": expected an adapter of ",
                                                absl::StrJoin(model.identity.names, ", "),
                                                ", found one of ", lora.base_model));
  }
  ProblemList problems;
  for (const LoraLayer& layer : lora.layers) {
    const auto found = model.identity.parameters.find(layer.parameter);
    if (found == model.identity.parameters.end()) {
      problems.Add(layer.parameter, ": the base has no such matrix");
    } else if (found->second.rows != layer.rows() || found->second.cols != layer.cols()) {
      problems.Add(layer.parameter, ": expected [", found->second.rows, ", ", found->second.cols,
                   "], found [", layer.rows(), ", ", layer.cols(), "]");
    }
  }
  return problems.ToStatus(absl::StatusCode::kInvalidArgument, lora_path);
}

absl::StatusOr<ExitCode> FromLora(Session& session, const FromLoraArguments& options) {
  const AdapterWriter* writer = nullptr;
  if (!options.output.path.empty()) {
    SHIRA_ASSIGN_OR_RETURN(writer, CheckOutput(options.output));
  }
  SHIRA_ASSIGN_OR_RETURN(const AdapterFiles files, ReadAdapterFiles(options.lora, UINT64_MAX));
  SHIRA_ASSIGN_OR_RETURN(const Safetensors tensors, files.ParseTensors());
  SHIRA_ASSIGN_OR_RETURN(const LoraAdapter lora, ReadLora(files, tensors));
  if (options.base != "none") {
    SHIRA_RETURN_IF_ERROR(CheckBase(lora, options.lora, options.base));
  }

  SparseBuilder builder(options.density);
  {
    int64_t elements = 0;
    for (const LoraLayer& layer : lora.layers) elements += layer.rows() * layer.cols();
    ProgressBar progress("Multiplying", elements, session.err());
    for (const LoraLayer& layer : lora.layers) {
      SHIRA_RETURN_IF_ERROR(progress.Advance(0, layer.parameter));
      SHIRA_RETURN_IF_ERROR(builder.Add(layer.parameter, layer.rows(), layer.cols(),
                                        DenseDelta(layer, ThreadsFor())));
      SHIRA_RETURN_IF_ERROR(progress.Advance(layer.rows() * layer.cols(), layer.parameter));
    }
  }
  return FinishSparse(session, builder, {.base_model = lora.base_model, .json = {}, .text = ""},
                      writer, options.output);
}

}  // namespace

CommandRunner SetUpFromLora(CLI::App& app) {
  const auto options = std::make_shared<FromLoraArguments>();
  app.description(
      "Make a SHiRA adapter of a PEFT LoRA adapter: of each parameter's B A x scale, the largest "
      "elements");
  app.footer(
      "Examples:\n"
      "  shira-adapter from-lora my-lora --density 0.02 --out my-shira\n"
      "  shira-adapter from-lora my-lora --density 0.02            # only says what would be lost\n"
      "  shira-adapter from-lora my-lora --base llama --density 1 --out all.shira");
  app.add_option("LORA", options->lora, "The folder that PEFT saved")->type_name("")->required();
  app.add_option("--base", options->base,
                 "The model to check names and shapes against: a folder, a GGUF file, or none")
      ->type_name("MODEL")
      ->capture_default_str();
  AddDensityOption(app, options->density);
  app.add_option("--out", options->output.path, "Where to write; without it nothing is written")
      ->type_name("OUT");
  AddOutputOptions(app, options->output);
  return [options](Session& session) { return FromLora(session, *options); };
}

}  // namespace shira::tools
