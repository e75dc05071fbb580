#include <filesystem>
#include <utility>

#include "base/status_macros.h"
#include "server/model/gguf_names.h"
#include "server/model/gguf_parts.h"
#include "server/model/hub_cache.h"
#include "server/model/model_family.h"
#include "server/model/model_files.h"

namespace shira {
namespace {

// Not a parameter: the configuration takes it in.
constexpr std::string_view kRotaryFactors = "rope_freqs.weight";

std::string StoredName(std::string_view parameter) {
  return GgufTensorName(parameter).value_or("");
}

}  // namespace

absl::StatusOr<ModelFiles> OpenGgufModel(const std::string& path) {
  ModelFiles files;
  SHIRA_ASSIGN_OR_RETURN(GgufParts parts, OpenGgufParts(path));
  files.mapped = std::move(parts.mapped);
  files.gguf = std::make_unique<GgufFile>(std::move(parts.gguf));
  SHIRA_ASSIGN_OR_RETURN(files.config, ReadGgufConfig(*files.gguf));
  SHIRA_ASSIGN_OR_RETURN(const ModelFamily* family,
                         FindFamilyByGgufArchitecture(files.config.architecture, path));
  files.interleaved_rotary_rows = family->gguf_interleaves_rotary_rows;
  files.stored_name = &StoredName;

  const absl::StatusOr<std::string> name = files.gguf->GetString("general.name");
  const std::string repository = HubRepositoryOf(path);
  files.name = name.ok()             ? *name
               : !repository.empty() ? repository
                                     : std::filesystem::path(path).filename().string();
  for (const auto& [tensor_name, tensor] : files.gguf->tensors()) {
    if (tensor_name == kRotaryFactors) continue;
    files.tensors.emplace(tensor_name, StoredTensor{GgmlTypeName(tensor.type), tensor.type,
                                                    tensor.shape, tensor.data});
  }
  return files;
}

}  // namespace shira
