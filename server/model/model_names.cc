#include "server/model/model_names.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "base/mapped_file.h"
#include "server/model/hub_cache.h"

namespace shira {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxConfigBytes = 1 << 20;

// config.json's "_name_or_path"; empty where there is none. WeightSource::Open() has said what is
// wrong with the file.
std::string NameInConfig(const std::string& folder) {
  const auto text = ReadFile(fs::path(folder) / "config.json", kMaxConfigBytes);
  if (!text.ok()) return "";
  const nlohmann::json config = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) return "";
  const nlohmann::json name = config.value("_name_or_path", nlohmann::json());
  return name.is_string() ? name.get<std::string>() : "";
}

}  // namespace

std::vector<std::string> NamesOfModel(const std::string& path, const WeightSource& source) {
  std::vector<std::string> names = {source.name()};
  const auto add = [&](std::string name) {
    if (name.empty() || std::find(names.begin(), names.end(), name) != names.end()) return;
    names.push_back(std::move(name));
  };
  // In the hub's cache, folders and files are called by hashes.
  const std::string repository = HubRepositoryOf(path);
  add(repository);
  std::error_code error;
  const fs::path canonical = fs::weakly_canonical(path, error);
  if (const GgufFile* gguf = source.gguf()) {
    add((repository.empty() ? canonical : fs::path(path)).stem().native());
    add(gguf->GetString("general.basename").value_or(""));
    return names;
  }
  if (repository.empty()) add(canonical.filename().native());
  add(NameInConfig(path));
  return names;
}

}  // namespace shira
