// File: tools/model.h
//
// A model on disk, as the commands need it: its shapes and names at once, its weights one parameter
// at a time.

#ifndef SHIRA_TOOLS_MODEL_H_
#define SHIRA_TOOLS_MODEL_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "adapters/format/adapter_reader.h"
#include "server/model/tensor_spec.h"
#include "server/model/weight_loader.h"

namespace shira::tools {

struct Model {
  std::unique_ptr<WeightSource> source;
  // As the server's, but for what only resident weights have: their dtype and digest.
  BaseModelIdentity identity;
};

// A Hugging Face folder or a GGUF file, whose headers are read and weights are not. Errors of
// WeightSource::Open().
absl::StatusOr<Model> OpenModel(const std::string& path);

// The parameter in float32, row-major; whatever it was stored in becomes float32 without loss, and
// quantised weights as the server dequantises them.
absl::StatusOr<std::vector<float>> ReadParameter(const WeightSource& source,
                                                 const TensorSpec& parameter);

}  // namespace shira::tools

#endif  // SHIRA_TOOLS_MODEL_H_
