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

  // Where the files have a parameter: a tensor's name, and the part of it; null: all. Points into
  // `spec`.
  struct Source {
    const std::string& name;
    const StoredPart* part;
  };
  Source source_of(const TensorSpec& spec) const {
    const auto part_of = [](const std::optional<StoredPart>& part) {
      return part ? &*part : nullptr;
    };
    if (gguf != nullptr) return {spec.gguf_name, part_of(spec.gguf_part)};
    const bool is_newer =
        spec.newer && tensors.count(spec.name) == 0 && tensors.count(spec.newer->name) != 0;
    return is_newer ? Source{spec.newer->name, part_of(spec.newer->part)}
                    : Source{spec.name, nullptr};
  }
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
