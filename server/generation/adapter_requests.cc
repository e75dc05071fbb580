#include "server/generation/adapter_requests.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "server/generation/error_details.h"
#include "server/generation/log_text.h"

namespace shira {
namespace {

constexpr size_t kMaxLoggedBytes = 1000;  // in the log

// Whether an alias names a version of what a client calls `name`.
bool IsAliased(const AdapterLifecycle& lifecycle, const std::string& name) {
  const std::optional<AdapterInfo> named = lifecycle.Get(name);
  if (!named.has_value()) return false;
  const std::vector<AliasInfo> aliases = lifecycle.Aliases();
  return std::any_of(aliases.begin(), aliases.end(),
                     [&](const AliasInfo& alias) { return alias.target.name == named->name; });
}

}  // namespace

absl::StatusOr<AdapterLoadResult> LoadAdapter(AdapterLifecycle& lifecycle, const std::string& name,
                                              const std::string& path,
                                              const std::string& expected_sha256,
                                              const AdapterLoadOptions& options) {
  absl::StatusOr<AdapterLoadResult> loaded = lifecycle.Load(name, path, expected_sha256, options);
  if (!loaded.ok()) {
    spdlog::warn("adapter {}: not loaded: {}", ForLog(name),
                 ForLog(loaded.status().ToString(absl::StatusToStringMode::kWithNoExtraData),
                        kMaxLoggedBytes));
    return WithReason(loaded.status(), Operation::kLoadAdapter, {{"name", name}, {"path", path}});
  }
  LogLoaded(*loaded);
  return loaded;
}

void LogLoaded(const AdapterLoadResult& loaded) {
  const AdapterInfo& info = loaded.info;
  spdlog::info("adapter {}@{}: loaded from {} in {:.1f} ms, {} entries, {} bytes{}{}", info.name,
               info.version, info.path, absl::ToDoubleMilliseconds(info.load_duration),
               info.adapter->entries, info.memory_bytes,
               loaded.already_loaded ? " (was loaded already)" : "",
               loaded.replaced.has_value() ? ", in the place of the version before" : "");
}

absl::Status UnloadAdapter(AdapterLifecycle& lifecycle, const std::string& name,
                           const AdapterUnloadOptions& options) {
  const absl::Status status = lifecycle.Unload(name, options);
  if (absl::IsFailedPrecondition(status) && IsAliased(lifecycle, name)) {
    return WithReason(status, "ADAPTER_HAS_ALIAS", {{"name", name}});
  }
  if (!status.ok()) return WithReason(status, Operation::kUnloadAdapter, {{"name", name}});
  spdlog::info("adapter {}: unloaded", name);
  return absl::OkStatus();
}

}  // namespace shira
