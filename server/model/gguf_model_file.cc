#include <algorithm>
#include <filesystem>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "server/model/gguf_parts.h"
#include "server/model/hub_cache.h"
#include "server/model/model_family.h"
#include "server/model/model_files.h"

namespace shira {

absl::StatusOr<ModelFiles> OpenGgufModel(const std::string& path) {
  ModelFiles files;
  SHIRA_ASSIGN_OR_RETURN(GgufParts parts, OpenGgufParts(path));
  files.mapped = std::move(parts.mapped);
  files.gguf = std::make_unique<GgufFile>(std::move(parts.gguf));
  SHIRA_ASSIGN_OR_RETURN(files.config, ReadGgufConfig(*files.gguf));

  const absl::StatusOr<std::string> name = files.gguf->GetString("general.name");
  const std::string repository = HubRepositoryOf(path);
  files.name = name.ok()             ? *name
               : !repository.empty() ? repository
                                     : std::filesystem::path(path).filename().string();
  const std::vector<std::string_view>& settings = files.config.family->gguf_settings_tensors;
  for (const auto& [tensor_name, tensor] : files.gguf->tensors()) {
    if (std::count(settings.begin(), settings.end(), tensor_name) > 0) continue;
    files.tensors.emplace(tensor_name, StoredTensor{GgmlTypeName(tensor.type), tensor.type,
                                                    tensor.shape, tensor.data});
  }
  return files;
}

}  // namespace shira
