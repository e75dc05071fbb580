#include "server/model/hub_cache.h"

#include <filesystem>
#include <iterator>
#include <string_view>
#include <system_error>

#include "absl/strings/str_replace.h"

namespace shira {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kModels = "models--";

std::string RepositoryIn(const fs::path& path) {
  for (auto part = path.begin(); part != path.end(); ++part) {
    const auto next = std::next(part);
    if (next == path.end() || (*next != "snapshots" && *next != "blobs")) continue;
    const std::string& name = part->native();
    // No part of a hub's name holds "--".
    if (name.size() > kModels.size() && name.compare(0, kModels.size(), kModels) == 0) {
      return absl::StrReplaceAll(name.substr(kModels.size()), {{"--", "/"}});
    }
  }
  return "";
}

}  // namespace

std::string HubRepositoryOf(const std::string& path) {
  std::error_code error;
  const fs::path absolute = fs::absolute(path, error).lexically_normal();
  if (const std::string name = RepositoryIn(absolute); !name.empty()) return name;
  return RepositoryIn(fs::weakly_canonical(absolute, error));
}

}  // namespace shira
