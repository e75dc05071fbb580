// File: server/model/model_files.h
//
// The two layouts that a model can have on disk, opened and parsed but not yet checked against each
// other: WeightSource does that.

#ifndef SHIRA_SERVER_MODEL_MODEL_FILES_H_
#define SHIRA_SERVER_MODEL_MODEL_FILES_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/gguf_file.h"
#include "base/mapped_file.h"
#include "base/problem_list.h"
#include "server/model/model_config.h"

namespace shira {

struct StoredTensor {
  std::string_view type_name;    // as the file names it: "F32", "Q4_1"
  std::optional<GgmlType> type;  // nullopt for a type that holds no weights
  std::vector<int64_t> shape;
  absl::Span<const std::byte> data;  // points into ModelFiles::mapped
};

struct ModelFiles {
  ModelConfig config;
  std::string name;  // for people
  std::vector<MappedFile> mapped;
  std::unique_ptr<GgufFile> gguf;  // nullptr for a folder
  // By the file's own names, without the known non-parameters.
  std::map<std::string, StoredTensor> tensors;
  // What is wrong with the files, for one error with what is wrong with the tensors.
  ProblemList problems;

  // A tensor of the files, and the part of it that a parameter's rows are; null: all.
  struct Source {
    std::string name;
    std::vector<int64_t> shape;
    const StoredPart* part = nullptr;  // points into the TensorSpec
    // Of MXFP4: the tensor with the scales, whose shape is the other's without its last dimension. "":
    // the tensor holds its elements by itself.
    std::string scales = "";
  };
  // The tensors that have a parameter's rows, equally many each, in the order of stored_rows().
  std::vector<Source> sources_of(const TensorSpec& spec) const;
  // The order in which the files have its rows.
  GgufRows stored_rows(const TensorSpec& spec) const {
    return gguf == nullptr ? GgufRows::kSame : spec.gguf_rows;
  }
  // What the files have added to its elements.
  float stored_offset(const TensorSpec& spec) const {
    return gguf == nullptr ? 0.0f : spec.gguf_offset;
  }
};

// A Hugging Face folder: config.json, and model.safetensors or else model.safetensors.index.json
// with shards in the same folder.
absl::StatusOr<ModelFiles> OpenHuggingFaceFolder(const std::string& path);

absl::StatusOr<ModelFiles> OpenGgufModel(const std::string& path);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_MODEL_FILES_H_
