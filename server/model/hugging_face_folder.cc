#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "base/safetensors.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/model/encoded_matrix.h"
#include "server/model/model_files.h"

namespace shira {
namespace {

constexpr uint64_t kMaxIndexBytes = uint64_t{64} << 20;
constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";
constexpr const char* kEmbeddings = "model.embed_tokens.weight";
constexpr const char* kHead = "lm_head.weight";

std::string StoredName(std::string_view parameter) { return std::string(parameter); }

// Tables that older versions of transformers saved though they follow from the configuration.
bool IsDerivedTable(const std::string& name) {
  return absl::EndsWith(name, "rotary_emb.inv_freq") ||
         absl::EndsWith(name, "rotary_emb.cos_cached") ||
         absl::EndsWith(name, "rotary_emb.sin_cached");
}

bool IsPlainFileName(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

// Which tensors each shard holds, by the shard's file name.
using ShardContents = std::map<std::string, std::set<std::string>>;

absl::StatusOr<ShardContents> ReadIndex(const std::string& path) {
  SHIRA_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxIndexBytes));
  const nlohmann::json index = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto refuse = [&](const auto&... parts) {
    return absl::InvalidArgumentError(StrCat(path, ": ", parts...));
  };
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
    return refuse("not a JSON object with an object weight_map");
  }
  ShardContents shards;
  for (const auto& [tensor, shard] : index["weight_map"].items()) {
    if (!shard.is_string()) return refuse("weight_map['", tensor, "'] is not a file name");
    const std::string& file = shard.get_ref<const std::string&>();
    if (!IsPlainFileName(file)) {
      return refuse("weight_map['", tensor, "'] is '", file,
                    "'; expected the name of a file in the same folder");
    }
    shards[file].insert(tensor);
  }
  return shards;
}

// Maps one file and adds its tensors. `expected` are the names that an index gives it; nullptr
// without an index.
absl::Status AddFile(const std::string& path, const std::set<std::string>* expected,
                     ModelFiles& files) {
  SHIRA_ASSIGN_OR_RETURN(MappedFile mapped, MappedFile::Open(path));
  SHIRA_ASSIGN_OR_RETURN(const Safetensors parsed, Safetensors::Parse(mapped.bytes(), path));
  files.mapped.push_back(std::move(mapped));
  for (const auto& [name, tensor] : parsed.tensors()) {
    if (IsDerivedTable(name)) continue;
    if (expected != nullptr && expected->count(name) == 0) {
      files.problems.Add("tensor '", name, "' is in ", path, " but the index does not say so");
      continue;
    }
    files.tensors.emplace(name, StoredTensor{DTypeName(tensor.dtype), BlockTypeOf(tensor.dtype),
                                             tensor.shape, tensor.data});
  }
  if (expected != nullptr) {
    for (const std::string& name : *expected) {
      if (parsed.Find(name) == nullptr) {
        files.problems.Add("the index says that tensor '", name, "' is in ", path,
                           " but it is not");
      }
    }
  }
  return absl::OkStatus();
}

// Some files hold the output weights though they are the embeddings. That is harmless only where
// they are equal.
void DropTiedHead(ModelFiles& files) {
  const auto head = files.tensors.find(kHead);
  const auto embeddings = files.tensors.find(kEmbeddings);
  if (!files.config.tie_word_embeddings || head == files.tensors.end() ||
      embeddings == files.tensors.end()) {
    return;
  }
  const StoredTensor& a = head->second;
  const StoredTensor& b = embeddings->second;
  if (a.type == b.type && a.shape == b.shape && a.data == b.data) {
    files.tensors.erase(head);
  } else {
    files.problems.Add("tie_word_embeddings is true but ", kHead, " differs from ", kEmbeddings);
  }
}

// The last component, also of a path that ends in '/' or is ".".
std::string FolderName(const std::string& path) {
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::weakly_canonical(path, error);
  return error || absolute.filename().empty() ? path : absolute.filename().string();
}

}  // namespace

absl::StatusOr<ModelFiles> OpenHuggingFaceFolder(const std::string& path) {
  const std::filesystem::path folder(path);
  ModelFiles files;
  SHIRA_ASSIGN_OR_RETURN(files.config, ReadHuggingFaceConfig(path));
  files.name = FolderName(path);
  files.stored_name = &StoredName;

  std::error_code error;
  if (std::filesystem::exists(folder / kSingleFile, error)) {
    SHIRA_RETURN_IF_ERROR(AddFile(folder / kSingleFile, nullptr, files));
  } else if (std::filesystem::exists(folder / kIndexFile, error)) {
    SHIRA_ASSIGN_OR_RETURN(const ShardContents shards, ReadIndex(folder / kIndexFile));
    for (const auto& [file, contents] : shards) {
      SHIRA_RETURN_IF_ERROR(AddFile(folder / file, &contents, files));
    }
  } else {
    return absl::NotFoundError(
        StrCat(path, ": neither ", kSingleFile, " nor ", kIndexFile,
               "; other formats can be converted with save_pretrained() of transformers"));
  }
  DropTiedHead(files);
  return files;
}

}  // namespace shira
