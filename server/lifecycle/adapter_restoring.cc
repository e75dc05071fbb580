#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>

#include "base/out_of_memory.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "base/strings.h"
#include "server/lifecycle/adapter_lifecycle_impl.h"

namespace shira {

// ---- Saving -------------------------------------------------------------------------------------

CatalogSnapshot AdapterLifecycle::Impl::Snapshot() const {
  CatalogSnapshot snapshot;
  snapshot.versions = versions_.Save();
  for (const auto& [name, versions] : records_) {
    for (const auto& [version, record] : versions) {
      if (record->saved.has_value()) {  // it may be there again at the next start
        snapshot.adapters.push_back(*record->saved);
        snapshot.adapters.back().pinned = record->pinned;
      } else if (record->adapter != nullptr && !record->retiring &&
                 !record->backing.source.empty()) {
        snapshot.adapters.push_back({name, version, record->adapter->digest,
                                     record->adapter->format, record->backing.path,
                                     record->backing.source, record->backing.source_digest,
                                     record->backing.owner, record->pinned});
      }
    }
  }
  snapshot.aliases = aliases_.List();
  snapshot.default_state = default_terms_;
  return snapshot;
}

void AdapterLifecycle::Impl::SaveChanges() {
  if (store_ != nullptr) {
    absl::MutexLock saving(&saving_mutex_);
    CatalogSnapshot snapshot;
    int64_t change = 0;
    bool is_saved = false;
    {
      absl::MutexLock lock(&mutex_);
      change = changes_;
      is_saved = change == saved_changes_;
      if (!is_saved) snapshot = Snapshot();
    }
    const absl::Status status = is_saved ? absl::OkStatus() : store_->Write(snapshot);
    if (!status.ok()) {
      options_.on_state_file_error(status);
      return;
    }
    absl::MutexLock lock(&mutex_);
    saved_changes_ = change;
  }
  RemoveGarbage();
}

bool AdapterLifecycle::Impl::IsRemovable(const Garbage& garbage) const {
  return store_ == nullptr || garbage.change <= saved_changes_;
}

void AdapterLifecycle::Impl::RemoveGarbage() {
  absl::MutexLock removing(&removing_mutex_);
  std::vector<Garbage> removable;
  {
    absl::MutexLock lock(&mutex_);
    const auto stays = [this](const Garbage& garbage) {
      mutex_.AssertHeld();
      return !IsRemovable(garbage);
    };
    const auto middle = std::stable_partition(garbage_.begin(), garbage_.end(), stays);
    removable.assign(std::make_move_iterator(middle), std::make_move_iterator(garbage_.end()));
    garbage_.erase(middle, garbage_.end());
  }
  for (const Garbage& garbage : removable) RemoveFiles(garbage.owner, garbage.source);
}

void AdapterLifecycle::Impl::RemoveFiles(FileOwner owner, const std::string& source) {
  std::error_code ignored;
  if (owner == FileOwner::kUpload && uploads_ != nullptr) uploads_->Remove(source);
  if (owner == FileOwner::kBlend) std::filesystem::remove(source, ignored);
}

void AdapterLifecycle::Impl::RemoveGarbageWhenThereIsSome() {
  const auto is_wanted = [this] {
    mutex_.AssertHeld();
    return stopping_ ||
           std::any_of(garbage_.begin(), garbage_.end(), [this](const Garbage& garbage) {
             mutex_.AssertHeld();
             return IsRemovable(garbage);
           });
  };
  while (true) {
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(&is_wanted));
      if (stopping_) return;
    }
    RemoveGarbage();
  }
}

UploadStore* AdapterLifecycle::Impl::uploads() {
  RemoveGarbage();  // whoever asks may need the room
  return uploads_.get();
}

absl::StatusOr<std::unique_ptr<UploadStore::Upload>> AdapterLifecycle::Impl::BeginUpload(
    const UploadManifest& manifest) {
  while (true) {
    RemoveGarbage();
    absl::StatusOr<std::unique_ptr<UploadStore::Upload>> upload = uploads_->Begin(manifest);
    if (!absl::IsResourceExhausted(upload.status())) return upload;
    {
      absl::MutexLock lock(&mutex_);
      if (!EndRecent(FileOwner::kUpload)) return upload;
    }
    SaveChanges();
  }
}

// ---- Restoring ----------------------------------------------------------------------------------

AdapterLifecycle::RestoreReport AdapterLifecycle::Impl::Restore() {
  RestoreReport report;
  if (store_ == nullptr && uploads_ == nullptr) return report;
  const bool is_known = store_ != nullptr && store_->opened().has_value();
  const CatalogSnapshot saved = is_known ? *store_->opened() : CatalogSnapshot();
  {
    absl::MutexLock lock(&mutex_);
    versions_.Restore(saved.versions);
    for (const CatalogSnapshot::Adapter& adapter : saved.adapters) versions_.Keep(adapter.name);
    for (const AliasInfo& alias : saved.aliases) aliases_.Restore(alias);
    default_terms_ = saved.default_state;
  }
  std::vector<absl::Status> results(saved.adapters.size());
  ForEachInThreads(static_cast<int64_t>(results.size()), options_.max_concurrent_loads,
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
  if (uploads_ != nullptr) {
    for (const std::string& folder : uploads_->List()) {
      if (sources.contains(folder)) continue;
      const bool is_leftover = is_known && UploadStore::IsUpload(folder);
      if (is_leftover) uploads_->Remove(folder);
      (is_leftover ? report.removed_uploads : report.unused_uploads).push_back(folder);
    }
  }
  if (store_ != nullptr) {  // a blend that was saved, but not its entry in the state file
    std::error_code error;
    std::filesystem::directory_iterator it(store_->blends_folder(), error);
    for (const std::filesystem::directory_iterator end; !error && it != end; it.increment(error)) {
      if (!sources.contains(it->path().native())) std::filesystem::remove(it->path(), error);
    }
  }
  {
    absl::MutexLock lock(&mutex_);
    std::set<std::string> names;
    for (const CatalogSnapshot::Adapter& adapter : saved.adapters) names.insert(adapter.name);
    for (const std::string& name : names) RetireUnkept(name);
  }
  RefreshDefault();
  return report;
}

absl::Status AdapterLifecycle::Impl::RestoreOne(const CatalogSnapshot::Adapter& saved) {
  const SteadyTime start = SteadyNow();
  auto record = std::make_shared<AdapterRecord>();
  record->name = saved.name;
  record->version = saved.version;
  record->pinned = saved.pinned;
  record->backing = {saved.path, saved.source, saved.source_digest, saved.owner, nullptr};
  {
    absl::MutexLock lock(&mutex_);
    record->saved = saved;
    records_[saved.name][saved.version] = record;
  }
  absl::StatusOr<AdapterPtr> adapter = CatchOutOfMemory([&] { return ReadSaved(saved); });
  using StatePtr = std::shared_ptr<const CompiledState>;
  absl::StatusOr<StatePtr> state =
      adapter.ok() ? CompileOwnState(*adapter) : absl::StatusOr<StatePtr>(adapter.status());
  if (state.ok()) memory_.KeepDeltas(*adapter);
  absl::MutexLock lock(&mutex_);
  if (!state.ok()) {
    PublishFailure(*record, state.status());
    return state.status();
  }
  SHIRA_RETURN_IF_ERROR(record->MoveTo(AdapterState::kReady));
  record->saved.reset();
  record->own_state = (*state)->key;
  record->adapter = std::make_shared<const AdapterSummary>(
      AdapterSummary{saved.digest, saved.format, (*adapter)->base_model, (*adapter)->entries(),
                     static_cast<int64_t>((*adapter)->deltas.size())});
  if (record->pinned) record->pinned_state = *std::move(state);
  record->load_time = absl::Now();
  record->load_duration = SteadyNow() - start;
  stats_.loads.Add(record->load_duration);
  return absl::OkStatus();
}

absl::StatusOr<AdapterLifecycle::Impl::AdapterPtr> AdapterLifecycle::Impl::ReadSaved(
    const CatalogSnapshot::Adapter& saved) {
  const LoadSlots::Slot slot(slots_);
  SHIRA_ASSIGN_OR_RETURN(const std::string resolved, all_paths_.Resolve(saved.source));
  SHIRA_ASSIGN_OR_RETURN(AdapterPtr adapter, reader_.Read(resolved));
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
