#include "tools/adapter_input.h"

#include <algorithm>
#include <utility>

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

}  // namespace

absl::StatusOr<AdapterInput> ReadAdapter(const std::string& path, const std::string& model) {
  InferredShapes shapes;
  if (model.empty()) {
    SHIRA_ASSIGN_OR_RETURN(shapes, InferShapes(path, {}));
  } else {
    SHIRA_ASSIGN_OR_RETURN(Model opened, OpenModel(model));
    shapes = {std::move(opened.identity), /*exact=*/true};
  }
  AdapterInput input;
  input.exact_shapes = shapes.exact;
  SHIRA_ASSIGN_OR_RETURN(input.adapter, AdapterReader(std::move(shapes.identity), {}).Read(path));
  return input;
}

absl::StatusOr<std::vector<AdapterInput>> ReadComparable(const std::string& a, const std::string& b,
                                                         const std::string& model) {
  if (!model.empty()) {
    SHIRA_ASSIGN_OR_RETURN(AdapterInput first, ReadAdapter(a, model));
    SHIRA_ASSIGN_OR_RETURN(AdapterInput second, ReadAdapter(b, model));
    return std::vector<AdapterInput>{std::move(first), std::move(second)};
  }
  SHIRA_ASSIGN_OR_RETURN(InferredShapes first, InferShapes(a, {}));
  SHIRA_ASSIGN_OR_RETURN(InferredShapes second, InferShapes(b, {}));
  SHIRA_RETURN_IF_ERROR(Unify(first, second));
  std::vector<AdapterInput> inputs(2);
  SHIRA_ASSIGN_OR_RETURN(inputs[0].adapter, AdapterReader(std::move(first.identity), {}).Read(a));
  SHIRA_ASSIGN_OR_RETURN(inputs[1].adapter, AdapterReader(std::move(second.identity), {}).Read(b));
  inputs[0].exact_shapes = first.exact;
  inputs[1].exact_shapes = second.exact;
  return inputs;
}

}  // namespace shira::tools
