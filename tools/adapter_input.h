// File: tools/adapter_input.h
//
// Adapters as the commands read them: with or without their model.

#ifndef SHIRA_TOOLS_ADAPTER_INPUT_H_
#define SHIRA_TOOLS_ADAPTER_INPUT_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "adapters/sparse_adapter.h"

namespace shira::tools {

struct AdapterInput {
  std::shared_ptr<const SparseAdapter> adapter;
  // Whether the tables have the shapes of the model's parameters. If not, the shapes are only large
  // enough for every index: what depends on them must not be shown or written.
  bool exact_shapes = false;
};

// With a model (a path as for OpenModel()) everything is checked as the server does. With an empty
// `model` the shapes come from the adapter's own file (adapters/format/inferred_shapes.h).
absl::StatusOr<AdapterInput> ReadAdapter(const std::string& path, const std::string& model);

// Two adapters whose tables have equal shapes where they touch the same parameter, so that flat
// positions can be compared. FAILED_PRECONDITION where their files state different shapes.
absl::StatusOr<std::vector<AdapterInput>> ReadComparable(const std::string& a, const std::string& b,
                                                         const std::string& model);

}  // namespace shira::tools

#endif  // SHIRA_TOOLS_ADAPTER_INPUT_H_
