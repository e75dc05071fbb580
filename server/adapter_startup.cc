#include "server/adapter_startup.h"

#include <spdlog/spdlog.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/lifecycle/adapter_scan.h"
#include "server/lifecycle/load_slots.h"

namespace shira {
namespace {

std::string Explain(const absl::Status& status) { return std::string(status.message()); }

void LogLoaded(const AdapterInfo& info) {
  spdlog::info("adapter {}@{}: loaded from {} in {:.1f} ms", info.name, info.version, info.path,
               absl::ToDoubleMilliseconds(info.load_duration));
}

void Restore(const LifecycleOptions& options, AdapterLifecycle& lifecycle) {
  const AdapterLifecycle::RestoreReport report = lifecycle.Restore();
  for (const auto& [name, status] : report.failed) {
    spdlog::error("adapter {}: not restored: {}", name, Explain(status));
  }
  for (const std::string& folder : report.removed_uploads) {
    spdlog::warn("upload {} belongs to no adapter, and was removed", folder);
  }
  for (const std::string& folder : report.unused_uploads) {
    spdlog::warn("upload folder: {} belongs to no adapter; it stays, and counts against the quota",
                 folder);
  }
  if (!options.state_file.empty()) {
    spdlog::info("state file {}: {} adapters restored, {} not", options.state_file, report.restored,
                 report.failed.size());
  } else if (!options.upload_dir.empty()) {
    spdlog::warn("without --state-file, uploaded adapters are not loaded again after a restart");
  }
}

// An adapter that a flag names is what the operator wants, whatever the state file says.
absl::Status LoadNamed(const NamedAdapter& adapter, AdapterLifecycle& lifecycle) {
  const std::string path = std::filesystem::absolute(adapter.path).native();
  const auto loaded =
      lifecycle.Load(adapter.name, path, "", {.replace = true, .by_operator = true});
  if (!loaded.ok()) {
    return absl::Status(loaded.status().code(),
                        StrCat("adapter ", adapter.name, ": ", ToStd(loaded.status().message())));
  }
  LogLoaded(loaded->info);
  return absl::OkStatus();
}

void LoadFolder(const std::string& folder, int threads, AdapterLifecycle& lifecycle,
                const absl::Notification& stop) {
  const absl::StatusOr<AdapterScan> scan = ScanForAdapters(folder);
  if (!scan.ok()) {
    spdlog::error("adapter folder {}: {}", folder, Explain(scan.status()));
    return;
  }
  for (const std::string& problem : scan->problems) {
    spdlog::error("adapter folder: skipped: {}", problem);
  }
  ForEachInThreads(static_cast<int64_t>(scan->found.size()), threads, [&](int64_t i) {
    if (stop.HasBeenNotified()) return;
    const AdapterScan::Found& found = scan->found[static_cast<size_t>(i)];
    const std::string path = std::filesystem::absolute(found.path).native();
    const auto loaded = lifecycle.Load(found.name, path, "");
    if (loaded.ok()) {
      LogLoaded(loaded->info);
    } else {
      spdlog::error("adapter {}: skipped: {}", found.name, Explain(loaded.status()));
    }
  });
}

}  // namespace

absl::Status LoadStartupAdapters(const ServerOptions& options, AdapterLifecycle& lifecycle,
                                 const absl::Notification& stop) {
  const absl::Status stopped = absl::CancelledError("stopped while adapters were loading");
  Restore(options.lifecycle, lifecycle);
  for (const NamedAdapter& adapter : options.adapters) {
    if (stop.HasBeenNotified()) return stopped;
    SHIRA_RETURN_IF_ERROR(LoadNamed(adapter, lifecycle));
  }
  for (const std::string& folder : options.lifecycle.adapter_dirs) {
    if (stop.HasBeenNotified()) return stopped;
    LoadFolder(folder, options.lifecycle.max_concurrent_loads, lifecycle, stop);
  }
  return stop.HasBeenNotified() ? stopped : absl::OkStatus();
}

}  // namespace shira
