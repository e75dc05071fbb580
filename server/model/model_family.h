// File: server/model/model_family.h
//
// The model families that this program knows. To add one that has Llama's shape (RMS norm, rotary
// positions, grouped-query attention, gated SiLU MLP):
//   1. write its two functions, like those of llama_config.h, in a file of its own: each reads one
//      kind of file into a ModelConfig and notes every setting that the decoder does not have;
//   2. add one line to the table in model_family.cc;
//   3. add one tiny random model of it to tests/server/model/weight_loader_transformers_test.py,
//      which compares with transformers.
// What another shape needs (a norm on q and k, say) is a member of ModelConfig first, then code in
// the decoder.

#ifndef SHIRA_SERVER_MODEL_MODEL_FAMILY_H_
#define SHIRA_SERVER_MODEL_MODEL_FAMILY_H_

#include <string_view>

#include "absl/status/statusor.h"
#include "base/gguf_file.h"
#include "server/model/config_fields.h"
#include "server/model/model_config.h"

namespace shira {

struct ModelFamily {
  std::string_view model_type;         // "model_type" in config.json
  std::string_view gguf_architecture;  // "general.architecture" in GGUF metadata
  // The configuration in config.json, but for ModelConfig::architecture, which the caller fills in.
  // Problems go to the fields' list.
  ModelConfig (*from_json)(const ConfigFields& fields);
  // The same from a GGUF file.
  ModelConfig (*from_gguf)(const GgufFile& gguf, ConfigProblems* problems);
  // Whether a GGUF file has the rows of q and k in the order of interleaved rotary positions.
  bool gguf_interleaves_rotary_rows;
};

// UNIMPLEMENTED, naming `source` and the families that are known.
absl::StatusOr<const ModelFamily*> FindFamilyByModelType(std::string_view model_type,
                                                         std::string_view source);
absl::StatusOr<const ModelFamily*> FindFamilyByGgufArchitecture(std::string_view architecture,
                                                                std::string_view source);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_MODEL_FAMILY_H_
