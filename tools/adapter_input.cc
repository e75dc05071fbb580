#include "tools/adapter_input.h"

#include <algorithm>
#include <utility>

#include "adapters/format/adapter_files.h"
#include "adapters/format/adapter_reader.h"
#include "adapters/format/inferred_shapes.h"
#include "base/problem_list.h"
#include "base/status_macros.h"
#include "tools/model.h"

namespace shira::tools {
namespace {

using Shapes = std::map<std::string, BaseModelIdentity::Shape>;

// Gives both the shapes that hold the indices of both.
absl::Status Unify(InferredShapes& a, InferredShapes& b) {
  ProblemList problems;
  for (auto& [name, shape] : a.identity.parameters) {
    const auto other = b.identity.parameters.find(name);
    if (other == b.identity.parameters.end()) continue;
    const BaseModelIdentity::Shape both = {std::max(shape.rows, other->second.rows),
                                           std::max(shape.cols, other->second.cols)};
    const auto contradicts = [&](const InferredShapes& shapes, BaseModelIdentity::Shape stated) {
      return shapes.exact && (stated.rows != both.rows || stated.cols != both.cols);
    };
    if (contradicts(a, shape) || contradicts(b, other->second)) {
      problems.Add(name, ": [", shape.rows, ", ", shape.cols, "] and [", other->second.rows, ", ",
                   other->second.cols, "]");
    }
    shape = other->second = both;
  }
  return problems.ToStatus(absl::StatusCode::kFailedPrecondition,
                           "the adapters belong to models of different shapes");
}

// A file, and the shapes with which it is read.
struct Unread {
  AdapterFiles files;
  InferredShapes shapes;

  static absl::StatusOr<Unread> Open(const std::string& path) {
    Unread unread;
    SHIRA_ASSIGN_OR_RETURN(unread.files, ReadAdapterFiles(path, AdapterLimits().max_file_bytes));
    SHIRA_ASSIGN_OR_RETURN(unread.shapes, InferShapes(unread.files));
    return unread;
  }

  absl::StatusOr<AdapterInput> Read() const {
    AdapterInput input;
    input.exact_shapes = shapes.exact;
    SHIRA_ASSIGN_OR_RETURN(input.adapter, AdapterReader(shapes.identity, {}).Parse(files));
    return input;
  }
};

}  // namespace

absl::StatusOr<AdapterInput> ReadAdapter(const std::string& path, const std::string& model) {
  if (model.empty()) {
    SHIRA_ASSIGN_OR_RETURN(const Unread unread, Unread::Open(path));
    return unread.Read();
  }
  SHIRA_ASSIGN_OR_RETURN(Model opened, OpenModel(model));
  AdapterInput input;
  input.exact_shapes = true;
  SHIRA_ASSIGN_OR_RETURN(input.adapter, AdapterReader(std::move(opened.identity), {}).Read(path));
  return input;
}

absl::StatusOr<std::vector<AdapterInput>> ReadComparable(const std::string& a, const std::string& b,
                                                         const std::string& model) {
  std::vector<AdapterInput> inputs(2);
  if (!model.empty()) {
    SHIRA_ASSIGN_OR_RETURN(inputs[0], ReadAdapter(a, model));
    SHIRA_ASSIGN_OR_RETURN(inputs[1], ReadAdapter(b, model));
    return inputs;
  }
  SHIRA_ASSIGN_OR_RETURN(Unread first, Unread::Open(a));
  SHIRA_ASSIGN_OR_RETURN(Unread second, Unread::Open(b));
  SHIRA_RETURN_IF_ERROR(Unify(first.shapes, second.shapes));
  SHIRA_ASSIGN_OR_RETURN(inputs[0], first.Read());
  SHIRA_ASSIGN_OR_RETURN(inputs[1], second.Read());
  return inputs;
}

}  // namespace shira::tools
