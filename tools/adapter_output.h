// File: tools/adapter_output.h
//
// The options with which commands write an adapter, and the writing.

#ifndef SHIRA_TOOLS_ADAPTER_OUTPUT_H_
#define SHIRA_TOOLS_ADAPTER_OUTPUT_H_

#include <CLI/CLI.hpp>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/format/adapter_writer.h"
#include "adapters/sparse_adapter.h"

namespace shira::tools {

struct OutputOptions {
  std::string path;    // empty: nothing is written
  std::string format;  // empty: by the path's suffix
  std::string values = "fp32";
  bool force = false;
};

// --to, --values and --force. The path is the command's own to add.
void AddOutputOptions(CLI::App& app, OutputOptions& options);

// --density, a required number in (0, 1].
void AddDensityOption(CLI::App& app, double& density);

// To call before long work: the writer for these options. ALREADY_EXISTS when something is at the
// path, without --force; NOT_FOUND when there is no folder to write into.
absl::StatusOr<const AdapterWriter*> CheckOutput(const OutputOptions& options);

absl::Status WriteAdapter(const SparseAdapter& adapter, const AdapterWriter& writer,
                          const OutputOptions& options);

}  // namespace shira::tools

#endif  // SHIRA_TOOLS_ADAPTER_OUTPUT_H_
