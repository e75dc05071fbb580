#include "tools/model.h"

#include "base/status_macros.h"
#include "server/model/model_names.h"
#include "tools/threads.h"

namespace shira::tools {

absl::StatusOr<Model> OpenModel(const std::string& path) {
  Model model;
  SHIRA_ASSIGN_OR_RETURN(model.source, WeightSource::Open(path));
  model.identity.names = NamesOfModel(path, *model.source);
  for (const ModelConfig::Parameter& parameter : model.source->config().Parameters()) {
    const bool matrix = parameter.shape.size() == 2;
    model.identity.parameters[parameter.name] = {matrix ? parameter.shape[0] : 1,
                                                 parameter.shape.back()};
  }
  if (model.source->config().tie_word_embeddings) {
    model.identity.tied["lm_head.weight"] = "model.embed_tokens.weight";
  }
  return model;
}

int64_t ElementsOf(const ModelConfig::Parameter& parameter) {
  int64_t elements = 1;
  for (const int64_t dimension : parameter.shape) elements *= dimension;
  return elements;
}

absl::StatusOr<std::vector<float>> ReadParameter(const WeightSource& source,
                                                 const ModelConfig::Parameter& parameter) {
  std::vector<float> values(ElementsOf(parameter));
  const bool matrix = parameter.shape.size() == 2;
  const WeightDestination destination = {reinterpret_cast<std::byte*>(values.data()),
                                         matrix ? parameter.shape[0] : 1, parameter.shape.back()};
  SHIRA_RETURN_IF_ERROR(source.Read(parameter.name, DType::kF32, destination, ThreadsFor()));
  return values;
}

}  // namespace shira::tools
