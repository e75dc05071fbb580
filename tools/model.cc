#include "tools/model.h"

#include <utility>

#include "base/status_macros.h"
#include "server/model/model_names.h"
#include "tools/threads.h"

namespace shira::tools {

absl::StatusOr<Model> OpenModel(const std::string& path) {
  Model model;
  SHIRA_ASSIGN_OR_RETURN(model.source, WeightSource::Open(path));
  model.identity.names = NamesOfModel(path, *model.source);
  const std::vector<TensorSpec> tensors = model.source->config().Tensors();
  for (const TensorSpec& tensor : tensors) {
    model.identity.parameters[tensor.name] = {tensor.rows(), tensor.cols()};
  }
  OtherNames others = OtherNamesOf(tensors);
  model.identity.tied = std::move(others.tied);
  model.identity.renamed = std::move(others.renamed);
  model.identity.fused = std::move(others.fused);
  return model;
}

absl::StatusOr<std::vector<float>> ReadParameter(const WeightSource& source,
                                                 const TensorSpec& parameter) {
  std::vector<float> values(parameter.elements());
  const WeightDestination destination = {reinterpret_cast<std::byte*>(values.data()),
                                         parameter.rows(), parameter.cols()};
  SHIRA_RETURN_IF_ERROR(source.Read(parameter.name, DType::kF32, destination, ThreadsFor()));
  return values;
}

}  // namespace shira::tools
