#include "server/lifecycle/adapter_scan.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/strings.h"
#include "server/catalog/adapter_name.h"

namespace shira {

namespace fs = std::filesystem;

absl::StatusOr<AdapterScan> ScanForAdapters(const std::string& folder) {
  AdapterScan scan;
  std::error_code error;
  fs::directory_iterator it(folder, error);
  for (const fs::directory_iterator end; !error && it != end; it.increment(error)) {
    const fs::path& path = it->path();
    std::error_code ignored;
    const bool is_folder = it->is_directory(ignored);
    const bool is_packed = path.extension() == ".shira" && it->is_regular_file(ignored);
    if (path.filename().native().starts_with('.') || (!is_folder && !is_packed)) continue;
    const std::string name = is_folder ? path.filename() : path.stem();
    if (const absl::Status status = ValidateAdapterName(name); !status.ok()) {
      scan.problems.push_back(StrCat(path.native(), ": ", ToStd(status.message())));
    } else {
      scan.found.push_back({name, path.native()});
    }
  }
  if (error) {
    return absl::PermissionDeniedError(StrCat("cannot list ", folder, ": ", error.message()));
  }
  std::sort(scan.found.begin(), scan.found.end(),
            [](const AdapterScan::Found& a, const AdapterScan::Found& b) {
              return std::pair(a.name, a.path) < std::pair(b.name, b.path);
            });
  const auto is_second = [&](const AdapterScan::Found& a, const AdapterScan::Found& b) {
    if (a.name != b.name) return false;
    scan.problems.push_back(
        StrCat(b.path, ": the name '", b.name, "' is that of ", a.path, " too"));
    return true;
  };
  scan.found.erase(std::unique(scan.found.begin(), scan.found.end(), is_second), scan.found.end());
  return scan;
}

}  // namespace shira
