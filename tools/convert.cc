#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "base/strings.h"
#include "base/terminal/text_table.h"
#include "tools/adapter_input.h"
#include "tools/adapter_output.h"
#include "tools/commands.h"

namespace shira::tools {
namespace {

struct ConvertArguments {
  std::string in;
  std::string model;
  bool drop_zeros = false;
  OutputOptions output;
};

// The delta without its entries of value zero; with no entries left, a null table. A zero that
// takes the place of a weight stays.
absl::StatusOr<ParameterDelta> WithoutZeros(const ParameterDelta& delta) {
  if (delta.kind == ValueKind::kReplacement) return delta;
  ParameterDelta kept = delta;
  kept.values.clear();
  kept.table = nullptr;
  std::vector<int64_t> positions;
  delta.table->ForEach([&](uint32_t entry, int64_t position) {
    if (delta.values[entry] == 0) return;
    positions.push_back(position);
    kept.values.push_back(delta.values[entry]);
  });
  if (positions.empty()) return kept;
  SHIRA_ASSIGN_OR_RETURN(kept.table,
                         IndexTable::Create(delta.table->rows(), delta.table->cols(), positions));
  return kept;
}

absl::StatusOr<SparseAdapter> WithoutZeros(const SparseAdapter& adapter, const std::string& path) {
  SparseAdapter result = adapter;
  result.deltas.clear();
  for (const ParameterDelta& delta : adapter.deltas) {
    SHIRA_ASSIGN_OR_RETURN(ParameterDelta kept, WithoutZeros(delta));
    if (kept.table != nullptr) result.deltas.push_back(std::move(kept));
  }
  if (result.deltas.empty()) {
    return absl::InvalidArgumentError(StrCat(path, ": all its entries are zero"));
  }
  return result;
}

absl::StatusOr<ExitCode> Convert(Session& session, const ConvertArguments& options) {
  SHIRA_ASSIGN_OR_RETURN(const AdapterWriter* writer, CheckOutput(options.output));
  SHIRA_ASSIGN_OR_RETURN(const AdapterInput input, ReadAdapter(options.in, options.model));
  // A matrix that was taken for smaller than it is would be written as that small.
  if (!input.exact_shapes) {
    return absl::FailedPreconditionError(
        StrCat(options.in, ": its format (", input.adapter->format,
               ") does not say how large the matrices are: give its model with --model"));
  }
  SparseAdapter adapter = *input.adapter;
  if (options.drop_zeros) {
    SHIRA_ASSIGN_OR_RETURN(adapter, WithoutZeros(adapter, options.in));
  }
  SHIRA_RETURN_IF_ERROR(WriteAdapter(adapter, *writer, options.output));
  if (session.json()) {
    session.PrintJson({{"out", options.output.path},
                       {"from", input.adapter->format},
                       {"to", std::string(writer->name)},
                       {"values", options.output.values},
                       {"entries", adapter.entries()}});
  } else {
    session.out().Write(StrCat("Wrote ", options.output.path, ": ", FormatCount(adapter.entries()),
                               " entries, from ", input.adapter->format, " to ", writer->name,
                               "\n"));
  }
  return ExitCode::kOk;
}

}  // namespace

CommandRunner SetUpConvert(CLI::App& app) {
  const auto options = std::make_shared<ConvertArguments>();
  app.description("Write an adapter in another format");
  app.footer(
      "PEFT gives every parameter r * (rows + columns) entries: where an adapter has fewer, the\n"
      "PEFT folder is filled up with entries that change nothing.\n"
      "Examples:\n"
      "  shira-adapter convert pirate pirate.shira --model smollm2.gguf\n"
      "  shira-adapter convert pirate.shira pirate-bf16 --to peft --values bf16");
  app.add_option("IN", options->in, "The adapter: a folder or a file")->type_name("")->required();
  app.add_option("OUT", options->output.path, "Where to write")->type_name("")->required();
  app.add_option("--model,--base", options->model,
                 "Its model, a folder or a GGUF file: to check everything, and for the shapes, "
                 "which PEFT's folders do not have")
      ->type_name("MODEL");
  app.add_flag("--drop-zeros", options->drop_zeros, "Leave out entries of value zero");
  AddOutputOptions(app, options->output);
  return [options](Session& session) { return Convert(session, *options); };
}

}  // namespace shira::tools
