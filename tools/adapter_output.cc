#include "tools/adapter_output.h"

#include <filesystem>

#include "absl/strings/numbers.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace shira::tools {
namespace {

namespace fs = std::filesystem;

std::string FormatHelp() {
  std::string help = "Format to write:";
  for (const AdapterWriter& writer : AdapterWriters()) {
    StrAppend(&help, " ", writer.name, " (", writer.description, ")");
  }
  return help + "; default: by the name of OUT";
}

}  // namespace

void AddOutputOptions(CLI::App& app, OutputOptions& options) {
  app.add_option("--to", options.format, FormatHelp())->type_name("FORMAT");
  app.add_option("--values", options.values,
                 "Type of the values: fp32, or bf16 (half the bytes, rounded to nearest even)")
      ->type_name("TYPE")
      ->check(CLI::IsMember({"fp32", "bf16"}).description(""))
      ->capture_default_str();
  app.add_flag("--force", options.force, "Replace what is at OUT");
}

void AddDensityOption(CLI::App& app, double& density) {
  app.add_option("--density", density,
                 "Part of each parameter's elements to keep, above 0 and at most 1")
      ->type_name("D")
      ->required()
      ->check(CLI::Validator(
          [](const std::string& text) -> std::string {
            double value;
            const bool is_density = absl::SimpleAtod(text, &value) && value > 0 && value <= 1;
            return is_density ? "" : StrCat("expected above 0 and at most 1, found ", text);
          },
          ""));
}

absl::StatusOr<const AdapterWriter*> CheckOutput(const OutputOptions& options) {
  SHIRA_ASSIGN_OR_RETURN(const AdapterWriter* writer,
                         FindAdapterWriter(options.format, options.path));
  std::error_code error;
  if (!options.force && fs::exists(options.path, error)) {
    return absl::AlreadyExistsError(StrCat(options.path, " exists; --force replaces it"));
  }
  const fs::path folder = fs::absolute(options.path, error).lexically_normal().parent_path();
  if (!writer->suffix.empty() && !options.path.ends_with(writer->suffix)) {
    return absl::InvalidArgumentError(StrCat("cannot write ", options.path, ": the name of a ",
                                             writer->name, " file ends in ", writer->suffix));
  }
  // "x/" names the folder x.
  const fs::path parent = options.path.ends_with('/') ? folder.parent_path() : folder;
  if (!fs::is_directory(parent, error)) {
    return absl::NotFoundError(
        StrCat("cannot write ", options.path, ": ", parent.native(), " is no folder"));
  }
  return writer;
}

absl::Status WriteAdapter(const SparseAdapter& adapter, const AdapterWriter& writer,
                          const OutputOptions& options) {
  return writer.write(adapter, options.path,
                      {.values = options.values == "bf16" ? DType::kBF16 : DType::kF32,
                       .replace = options.force,
                       .tool = "shira-adapter " SHIRA_VERSION});
}

}  // namespace shira::tools
