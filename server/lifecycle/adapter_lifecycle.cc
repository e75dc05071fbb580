#include "server/lifecycle/adapter_lifecycle.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/lifecycle/adapter_lifecycle_impl.h"
#include "server/residency/freed_memory.h"

namespace shira {

AdapterLifecycle::Impl::Impl(Parts parts, const AdapterReader& reader, SwitchEngine& engine)
    : options_(std::move(parts.options)),
      client_paths_(std::move(parts.client_paths)),
      operator_paths_(std::move(parts.operator_paths)),
      all_paths_(std::move(parts.all_paths)),
      store_(std::move(parts.store)),
      uploads_(std::move(parts.uploads)),
      reader_(reader),
      engine_(engine),
      slots_(std::max(1, options_.max_concurrent_loads)),
      memory_(options_.memory_budget_bytes),
      states_(engine, memory_),
      deltas_([this](const std::string& path) { return ReadAgain(path); }, memory_),
      departures_(options_.on_gone, ReturnFreedMemory) {
  default_.state = engine_.base();
  cleaner_ = std::thread([this] { RemoveGarbageWhenThereIsSome(); });
}

AdapterLifecycle::Impl::~Impl() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  cleaner_.join();
}

// ---- Views --------------------------------------------------------------------------------------

AdapterInfo AdapterLifecycle::Impl::Describe(const AdapterRecord& record,
                                            const StateKey& resident) const {
  AdapterInfo info;
  info.name = record.name;
  info.version = record.version;
  info.state = record.state;
  info.path = record.backing.path;
  info.error = record.error;
  info.pinned = record.pinned;
  info.aliases = aliases_.NamesOf(record.id());
  info.adapter = record.adapter;
  info.running_requests = record.pins;
  info.load_time = record.load_time;
  info.load_duration = record.load_duration;
  info.last_use = record.last_use;
  if (record.adapter != nullptr) {
    const SparseAdapter* held = record.backing.held.get();
    const AdapterMemory::Kept kept = memory_.KeptOf(record.adapter->digest, record.own_state);
    info.memory_bytes = kept.bytes;
    if (held != nullptr) {
      const MemoryParts parts = PartsOf(*held);
      info.memory_bytes += kept.state ? parts.own_bytes : parts.full_bytes();
    }
    info.residency = resident.Contains(record.adapter->digest)  ? AdapterResidency::kFused
                     : kept.state || held != nullptr            ? AdapterResidency::kInMemory
                                                                : AdapterResidency::kOnDisk;
  }
  return info;
}

std::optional<AdapterInfo> AdapterLifecycle::Impl::Get(std::string_view name) const {
  const std::shared_ptr<const CompiledState> resident = engine_.resident();
  absl::MutexLock lock(&mutex_);
  const absl::StatusOr<RecordPtr> record = Find(name);
  if (!record.ok()) return std::nullopt;
  return Describe(**record, resident->key);
}

std::vector<AdapterInfo> AdapterLifecycle::Impl::List() const {
  const std::shared_ptr<const CompiledState> resident = engine_.resident();
  absl::MutexLock lock(&mutex_);
  std::vector<AdapterInfo> infos;
  infos.reserve(records_.size());
  for (const auto& [name, versions] : records_) {
    for (const auto& [version, record] : versions) {
      infos.push_back(Describe(*record, resident->key));
    }
  }
  return infos;
}

std::vector<AdapterRef> AdapterLifecycle::Impl::Describe(const StateKey& key) const {
  absl::MutexLock lock(&mutex_);
  std::vector<AdapterRef> adapters;
  for (const StateTerm& term : key.terms()) {
    AdapterRef& ref = adapters.emplace_back();
    ref.digest = term.adapter;
    ref.weight = term.weight;
    for (const auto& [name, versions] : records_) {
      for (const auto& [version, record] : versions) {
        if (record->adapter == nullptr || record->adapter->digest != term.adapter) continue;
        // Of several with this content the first name, in its newest version.
        if (ref.name.empty() || ref.name == name) {
          ref.name = name;
          ref.version = version;
        }
      }
    }
  }
  return adapters;
}

absl::StatusOr<std::shared_ptr<const SparseAdapter>> AdapterLifecycle::Impl::Deltas(
    std::string_view name) {
  RecordPtr record;
  DeltaSource source;
  {
    absl::MutexLock lock(&mutex_);
    SHIRA_ASSIGN_OR_RETURN(const std::vector<RecordPtr> records,
                           FindReady({AdapterSelectionTerm{std::string(name), 1.0}}));
    record = records.front();
    source = record->source();
    ++record->pins;
  }
  absl::StatusOr<DeltaSupplier::Supply> supply = deltas_.Get(source);
  {
    absl::MutexLock lock(&mutex_);
    --record->pins;
    if (record->retiring && record->pins == 0) Erase(record);
  }
  SHIRA_RETURN_IF_ERROR(supply.status());
  return std::move(supply->deltas);
}

LifecycleStats AdapterLifecycle::Impl::stats() const {
  absl::MutexLock lock(&mutex_);
  LifecycleStats stats = stats_;
  for (const auto& [name, versions] : records_) {
    for (const auto& [version, record] : versions) {
      stats.ready += record->state == AdapterState::kReady;
      stats.failed += record->state == AdapterState::kFailed;
      stats.retiring += record->retiring;
      stats.pinned += record->pinned;
      if (record->state != AdapterState::kReady) continue;
      const bool kept = memory_.KeptOf(record->adapter->digest, record->own_state).state;
      stats.in_memory += kept || record->backing.held != nullptr;
    }
  }
  stats.aliases = static_cast<int64_t>(aliases_.size());
  stats.evicted_states = memory_.evicted_states();
  stats.evicted_deltas = memory_.evicted_deltas();
  stats.memory_in_use_bytes = memory_.in_use_bytes();
  stats.memory_budget_bytes = options_.memory_budget_bytes;
  if (uploads_ != nullptr) {
    stats.upload_in_use_bytes = uploads_->in_use_bytes();
    stats.upload_quota_bytes = uploads_->quota_bytes();
  }
  if (store_ != nullptr) stats.unsaved_changes = changes_ - saved_changes_;
  return stats;
}

// ---- The public face ----------------------------------------------------------------------------

AdapterLifecycle::AdapterLifecycle(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
AdapterLifecycle::~AdapterLifecycle() { impl_->Stop(); }

absl::StatusOr<std::unique_ptr<AdapterLifecycle>> AdapterLifecycle::Create(
    Options options, const AdapterReader& reader, SwitchEngine& engine) {
  SHIRA_ASSIGN_OR_RETURN(PathConfinement client_paths, PathConfinement::Create(options.roots));
  std::vector<std::string> paths = options.roots;
  paths.insert(paths.end(), options.operator_paths.begin(), options.operator_paths.end());
  SHIRA_ASSIGN_OR_RETURN(PathConfinement operator_paths, PathConfinement::Create(paths));
  std::unique_ptr<UploadStore> uploads;
  if (options.uploads.has_value()) {
    SHIRA_ASSIGN_OR_RETURN(uploads, UploadStore::Open(*options.uploads));
    paths.push_back(uploads->folder());
  }
  std::unique_ptr<StateStore> store;
  if (!options.state_file.empty()) {
    SHIRA_ASSIGN_OR_RETURN(store, StateStore::Open(options.state_file, options.write_state_file));
    paths.push_back(store->blends_folder());
  }
  SHIRA_ASSIGN_OR_RETURN(PathConfinement all_paths, PathConfinement::Create(paths));
  auto impl = std::make_shared<Impl>(
      Impl::Parts{std::move(options), std::move(client_paths), std::move(operator_paths),
                  std::move(all_paths), std::move(store), std::move(uploads)},
      reader, engine);
  return std::unique_ptr<AdapterLifecycle>(new AdapterLifecycle(std::move(impl)));
}

// Whatever the result says, of this call's changes or of somebody else's, is saved before.

AdapterLifecycle::RestoreReport AdapterLifecycle::Restore() {
  RestoreReport report = impl_->Restore();
  impl_->SaveChanges();
  return report;
}

absl::StatusOr<AdapterLifecycle::LoadResult> AdapterLifecycle::Load(const std::string& name,
                                                                  const std::string& path,
                                                                  std::string_view expected_sha256,
                                                                  const LoadOptions& options) {
  absl::StatusOr<LoadResult> result = impl_->Load(name, path, expected_sha256, options);
  impl_->SaveChanges();
  return result;
}

absl::StatusOr<AdapterLifecycle::LoadResult> AdapterLifecycle::Load(
    const std::string& name, const std::string& path, std::string_view expected_sha256) {
  return Load(name, path, expected_sha256, LoadOptions());
}

absl::StatusOr<AdapterLifecycle::LoadResult> AdapterLifecycle::LoadUpload(
    const std::string& name, const std::string& path, std::string_view expected_sha256,
    const LoadOptions& options) {
  absl::StatusOr<LoadResult> result = impl_->LoadUpload(name, path, expected_sha256, options);
  impl_->SaveChanges();
  return result;
}

UploadStore* AdapterLifecycle::uploads() { return impl_->uploads(); }

absl::StatusOr<std::unique_ptr<UploadStore::Upload>> AdapterLifecycle::BeginUpload(
    UploadManifest manifest) {
  return impl_->BeginUpload(manifest);
}

absl::StatusOr<AdapterLifecycle::BlendResult> AdapterLifecycle::CreateBlend(
    const std::string& name, absl::Span<const AdapterSelectionTerm> parts,
    const FusionOptions& options, const std::string& save_path) {
  absl::StatusOr<BlendResult> result = impl_->CreateBlend(name, parts, options, save_path);
  impl_->SaveChanges();
  return result;
}

absl::Status AdapterLifecycle::Unload(const std::string& name, SteadyTime deadline,
                                     absl::FunctionRef<void(const AdapterInfo&)> on_unloading,
                                     absl::FunctionRef<bool()> is_cancelled) {
  const absl::Status status = impl_->Unload(name, deadline, on_unloading, is_cancelled);
  impl_->SaveChanges();
  return status;
}

absl::StatusOr<AdapterInfo> AdapterLifecycle::PinInMemory(std::string_view name) {
  absl::StatusOr<AdapterInfo> info = impl_->PinInMemory(name);
  impl_->SaveChanges();
  return info;
}

absl::StatusOr<AdapterInfo> AdapterLifecycle::Unpin(std::string_view name) {
  absl::StatusOr<AdapterInfo> info = impl_->Unpin(name);
  impl_->SaveChanges();
  return info;
}

absl::StatusOr<AliasInfo> AdapterLifecycle::SetAlias(const std::string& alias,
                                                    std::string_view target) {
  absl::StatusOr<AliasInfo> info = impl_->SetAlias(alias, target);
  impl_->SaveChanges();
  return info;
}

absl::StatusOr<AliasInfo> AdapterLifecycle::RollbackAlias(std::string_view alias) {
  absl::StatusOr<AliasInfo> info = impl_->RollbackAlias(alias);
  impl_->SaveChanges();
  return info;
}

absl::Status AdapterLifecycle::DeleteAlias(std::string_view alias) {
  const absl::Status status = impl_->DeleteAlias(alias);
  impl_->SaveChanges();
  return status;
}

std::vector<AliasInfo> AdapterLifecycle::Aliases() const { return impl_->Aliases(); }

std::optional<AdapterInfo> AdapterLifecycle::Get(std::string_view name) const {
  return impl_->Get(name);
}

std::vector<AdapterInfo> AdapterLifecycle::List() const { return impl_->List(); }

absl::StatusOr<std::vector<AdapterRef>> AdapterLifecycle::Resolve(
    absl::Span<const AdapterSelectionTerm> terms) const {
  return impl_->Resolve(terms);
}

absl::StatusOr<std::vector<AdapterRef>> AdapterLifecycle::ResolveDefault() const {
  return impl_->ResolveDefault();
}

absl::StatusOr<StateHandle> AdapterLifecycle::Acquire(absl::Span<const AdapterSelectionTerm> terms) {
  return impl_->Acquire(terms);
}

absl::StatusOr<StateHandle> AdapterLifecycle::Hold(absl::Span<const AdapterSelectionTerm> terms) {
  return impl_->Hold(terms);
}

absl::StatusOr<StateHandle> AdapterLifecycle::HoldDefault() { return impl_->HoldDefault(); }

absl::StatusOr<StateHandle> AdapterLifecycle::AcquireDefault() { return impl_->AcquireDefault(); }

absl::Status AdapterLifecycle::SetDefault(absl::Span<const AdapterSelectionTerm> terms) {
  const absl::Status status = impl_->SetDefault(terms);
  impl_->SaveChanges();
  return status;
}

std::vector<AdapterRef> AdapterLifecycle::Describe(const StateKey& key) const {
  return impl_->Describe(key);
}

std::vector<AdapterRef> AdapterLifecycle::DefaultState() const { return impl_->DefaultState(); }

absl::StatusOr<std::shared_ptr<const SparseAdapter>> AdapterLifecycle::Deltas(
    std::string_view name) {
  return impl_->Deltas(name);
}

int64_t AdapterLifecycle::memory_in_use_bytes() const { return impl_->memory_in_use_bytes(); }

LifecycleStats AdapterLifecycle::stats() const { return impl_->stats(); }

}  // namespace shira
