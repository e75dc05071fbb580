#include "server/lifecycle/adapter_restoring.h"

#include <cstdint>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "base/out_of_memory.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "base/strings.h"
#include "server/lifecycle/load_slots.h"

namespace shira {
namespace {

using AdapterPtr = std::shared_ptr<const SparseAdapter>;

}  // namespace

AdapterRestoreReport AdapterRestoring::Restore() {
  AdapterRestoreReport report;
  if (parts_.store == nullptr && parts_.uploads == nullptr) return report;
  const bool is_known = parts_.store != nullptr && parts_.store->opened().has_value();
  const CatalogSnapshot saved = is_known ? *parts_.store->opened() : CatalogSnapshot();
  parts_.catalog.Restore(saved);
  std::vector<absl::Status> results(saved.adapters.size());
  ForEachInThreads(static_cast<int64_t>(results.size()), parts_.threads,
                   [&](int64_t i) { results[i] = RestoreOne(saved.adapters[i]); });
  std::set<std::string> sources;
  for (size_t i = 0; i < results.size(); ++i) {
    const CatalogSnapshot::Adapter& adapter = saved.adapters[i];
    sources.insert(adapter.source);
    if (results[i].ok()) {
      ++report.restored;
    } else {
      report.failed.emplace_back(AdapterVersion{adapter.name, adapter.version}.ToString(),
                                 results[i]);
    }
  }
  RemoveUploads(sources, is_known, report);
  RemoveBlends(sources);
  parts_.catalog.EndRestore();
  parts_.states.RefreshDefault();
  return report;
}

void AdapterRestoring::RemoveUploads(const std::set<std::string>& sources, bool is_known,
                                     AdapterRestoreReport& report) {
  if (parts_.uploads == nullptr) return;
  for (const std::string& folder : parts_.uploads->List()) {
    if (sources.contains(folder)) continue;
    const bool is_leftover = is_known && UploadStore::IsUpload(folder);
    if (is_leftover) parts_.uploads->Remove(folder);
    (is_leftover ? report.removed_uploads : report.unused_uploads).push_back(folder);
  }
}

// A blend that was saved, but not its entry in the state file.
void AdapterRestoring::RemoveBlends(const std::set<std::string>& sources) {
  if (parts_.store == nullptr) return;
  std::error_code error;
  std::filesystem::directory_iterator it(parts_.store->blends_folder(), error);
  for (const std::filesystem::directory_iterator end; !error && it != end; it.increment(error)) {
    if (!sources.contains(it->path().native())) std::filesystem::remove(it->path(), error);
  }
}

absl::Status AdapterRestoring::RestoreOne(const CatalogSnapshot::Adapter& saved) {
  const SteadyTime start = SteadyNow();
  absl::StatusOr<AdapterPtr> adapter = CatchOutOfMemory([&] { return Read(saved); });
  using StatePtr = std::shared_ptr<const CompiledState>;
  absl::StatusOr<StatePtr> state = adapter.ok() ? parts_.states.CompileOwn(*adapter)
                                                : absl::StatusOr<StatePtr>(adapter.status());
  const AdapterVersion version{saved.name, saved.version};
  if (!state.ok()) {
    parts_.catalog.FailRestored(version, state.status());
    parts_.book.BookFailure();
    return state.status();
  }
  parts_.memory.KeepDeltas(*adapter);
  const absl::Duration duration = SteadyNow() - start;
  SHIRA_RETURN_IF_ERROR(parts_.catalog.FinishRestored(
      version, {.summary = {saved.digest, saved.format, (*adapter)->base_model,
                            (*adapter)->entries(), static_cast<int64_t>((*adapter)->deltas.size())},
                .origin = {saved.path, saved.source, saved.source_digest, saved.owner},
                .held = {.deltas = nullptr, .state = *std::move(state)},
                .load_duration = duration}));
  parts_.book.BookLoad(duration);
  return absl::OkStatus();
}

absl::StatusOr<AdapterPtr> AdapterRestoring::Read(const CatalogSnapshot::Adapter& saved) {
  SHIRA_ASSIGN_OR_RETURN(AdapterPtr adapter, parts_.sources.ReadAgain(saved.source));
  if (adapter->digest != saved.source_digest) {
    return absl::DataLossError(StrCat(saved.source,
                                      " has changed since it was loaded: expected "
                                      "SHA-256 ",
                                      saved.source_digest.Hex(), ", found ",
                                      adapter->digest.Hex()));
  }
  if (saved.digest == saved.source_digest) return adapter;
  auto blend = std::make_shared<SparseAdapter>(*adapter);
  blend->digest = saved.digest;
  blend->format = saved.format;
  return AdapterPtr(std::move(blend));
}

}  // namespace shira
