// File: server/model/model_family.h
//
// The model families that this program knows. To add one:
//   1. write server/model/families/NAME.{h,cc}: how its facts are read from each kind of file (every
//      setting that the decoder does not have is noted as a problem, by name), and the list of its
//      tensors;
//   2. add one line to the table in model_family.cc;
//   3. add tiny random models of it to tests/server/model/families_transformers_test.py, which
//      compares with transformers, and a row to docs/models.md.
// What its layers do differently is a member of LayerSpec first, then a branch in the decoder.

#ifndef SHIRA_SERVER_MODEL_MODEL_FAMILY_H_
#define SHIRA_SERVER_MODEL_MODEL_FAMILY_H_

#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/gguf_file.h"
#include "server/model/config_fields.h"
#include "server/model/model_config.h"
#include "server/model/tensor_spec.h"

namespace shira {

struct ModelFamily {
  std::string_view model_type;  // "model_type" in config.json
  // "general.architecture" in GGUF metadata. "": llama.cpp has none of its own.
  std::string_view gguf_architecture;
  // The configuration in config.json, but for ModelConfig::architecture and family, which the caller
  // fills in. Problems go to the fields' list.
  ModelConfig (*from_json)(const ConfigFields& fields);
  // The same from a GGUF file; null where gguf_architecture is "". Sets ModelConfig::family where the
  // file is of another family, which llama.cpp calls as this one.
  ModelConfig (*from_gguf)(const GgufFile& gguf, ConfigProblems* problems);
  // Every tensor of a model of this family, in layer order, tied ones once. REQUIRES: the sizes are
  // those of a configuration that Validate() accepts, or zero.
  std::vector<TensorSpec> (*tensors)(const ModelConfig& config);
  // Tensors of GGUF files that from_gguf has taken in: no parameters.
  std::vector<std::string_view> gguf_settings_tensors = {};
};

// UNIMPLEMENTED, naming `source` and the families that are known.
absl::StatusOr<const ModelFamily*> FindFamilyByModelType(std::string_view model_type,
                                                         std::string_view source);
absl::StatusOr<const ModelFamily*> FindFamilyByGgufArchitecture(std::string_view architecture,
                                                                std::string_view source);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_MODEL_FAMILY_H_
