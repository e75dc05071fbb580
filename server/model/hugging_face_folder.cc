#include <algorithm>
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
#include "server/model/gguf_dequantize.h"
#include "server/model/hub_cache.h"
#include "server/model/model_files.h"

namespace shira {
namespace {

constexpr uint64_t kMaxIndexBytes = uint64_t{64} << 20;
constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";

// Tables that older versions of transformers saved though they follow from the configuration.
bool IsDerivedTable(const std::string& name) {
  return absl::EndsWith(name, "rotary_emb.inv_freq") ||
         absl::EndsWith(name, "rotary_emb.cos_cached") ||
         absl::EndsWith(name, "rotary_emb.sin_cached") ||
         // The causal masks of GPT-NeoX.
         absl::EndsWith(name, ".attention.bias") || absl::EndsWith(name, ".attention.masked_bias");
}

// Whether a shard's name stays in the model's folder.
bool IsInsideFolder(const std::string& name) {
  const std::filesystem::path path(name);
  if (name.find('\0') != std::string::npos || !path.has_filename() || path.is_absolute()) {
    return false;
  }
  return std::none_of(path.begin(), path.end(),
                      [](const auto& part) { return part == "." || part == ".."; });
}

// The shards that an index names. What it says about tensors does not count: as in transformers, a
// model is made of every tensor in its shards.
absl::StatusOr<std::set<std::string>> ReadIndex(const std::string& path) {
  SHIRA_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxIndexBytes));
  const nlohmann::json index = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto refuse = [&](const auto&... parts) {
    return absl::InvalidArgumentError(StrCat(path, ": ", parts...));
  };
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
    return refuse("not a JSON object with an object weight_map");
  }
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : index["weight_map"].items()) {
    if (!shard.is_string()) return refuse("weight_map['", tensor, "'] is not a file name");
    const std::string& file = shard.get_ref<const std::string&>();
    if (!IsInsideFolder(file)) {
      return refuse("weight_map['", tensor, "'] is '", file,
                    "'; expected the name of a file in the same folder");
    }
    shards.insert(file);
  }
  return shards;
}

// Maps one file and adds its tensors; one that is there already is replaced.
absl::Status AddFile(const std::string& path, ModelFiles& files) {
  SHIRA_ASSIGN_OR_RETURN(MappedFile mapped, MappedFile::Open(path));
  SHIRA_ASSIGN_OR_RETURN(const Safetensors parsed, Safetensors::Parse(mapped.bytes(), path));
  files.mapped.push_back(std::move(mapped));
  for (const auto& [name, tensor] : parsed.tensors()) {
    if (IsDerivedTable(name)) continue;
    files.tensors[name] =
        StoredTensor{DTypeName(tensor.dtype), BlockTypeOf(tensor.dtype), tensor.shape, tensor.data};
  }
  return absl::OkStatus();
}

// Whether two tensors hold the same numbers, whatever they are stored as.
bool HoldEqualNumbers(const StoredTensor& a, const StoredTensor& b) {
  if (!a.type || !b.type || a.shape != b.shape) return false;
  if (a.type == b.type && a.data == b.data) return true;
  constexpr int64_t kChunk = 4096;
  std::vector<float> of_a(kChunk), of_b(kChunk);
  const auto read = [](const StoredTensor& tensor, int64_t first, std::vector<float>& out) {
    const int64_t bytes = GgmlBlockOf(*tensor.type).bytes;
    DequantizeBlocks(*tensor.type, tensor.data.subspan(first * bytes, out.size() * bytes),
                     absl::MakeSpan(out));
  };
  const int64_t elements = static_cast<int64_t>(a.data.size()) / GgmlBlockOf(*a.type).bytes;
  for (int64_t first = 0; first < elements; first += kChunk) {
    of_a.resize(std::min(kChunk, elements - first));
    of_b.resize(of_a.size());
    read(a, first, of_a);
    read(b, first, of_b);
    if (of_a != of_b) return false;  // a NaN equals nothing
  }
  return true;
}

// Decides what tie_word_embeddings means for the tensors that are there, as transformers does: one
// of the two matrices is used for both, and two that differ make the model an untied one.
void SettleTiedEmbeddings(ModelFiles& files) {
  for (const TensorSpec& spec : files.config.Tensors()) {
    if (spec.second_name.empty()) continue;
    const auto second = files.tensors.find(spec.second_name);
    if (second == files.tensors.end()) continue;
    const auto first = files.tensors.find(spec.name);
    if (first == files.tensors.end()) {
      auto node = files.tensors.extract(second);
      node.key() = spec.name;
      files.tensors.insert(std::move(node));
    } else if (HoldEqualNumbers(second->second, first->second)) {
      files.tensors.erase(second);
    } else {
      files.config.tie_word_embeddings = false;
    }
  }
}

// ORG/NAME in the hub's cache, else the last component, also of a path that ends in '/' or is ".".
std::string FolderName(const std::string& path) {
  if (std::string name = HubRepositoryOf(path); !name.empty()) return name;
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

  std::error_code error;
  if (std::filesystem::exists(folder / kSingleFile, error)) {
    SHIRA_RETURN_IF_ERROR(AddFile(folder / kSingleFile, files));
  } else if (std::filesystem::exists(folder / kIndexFile, error)) {
    SHIRA_ASSIGN_OR_RETURN(const std::set<std::string> shards, ReadIndex(folder / kIndexFile));
    // In the order of their names: of a tensor in several of them, transformers takes the last.
    for (const std::string& file : shards) {
      SHIRA_RETURN_IF_ERROR(AddFile(folder / file, files));
    }
  } else {
    return absl::NotFoundError(
        StrCat(path, ": neither ", kSingleFile, " nor ", kIndexFile,
               "; other formats can be converted with save_pretrained() of transformers"));
  }
  SettleTiedEmbeddings(files);
  return files;
}

}  // namespace shira
