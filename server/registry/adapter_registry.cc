#include "server/registry/adapter_registry.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/registry/adapter_registry_impl.h"

namespace shira {
namespace {

bool Contains(const StateKey& key, const Sha256Digest& adapter) {
  const auto terms = key.terms();
  return std::any_of(terms.begin(), terms.end(),
                     [&](const StateTerm& term) { return term.adapter == adapter; });
}

void SortCanonically(std::vector<AdapterRef>& adapters) {
  std::sort(adapters.begin(), adapters.end(),
            [](const AdapterRef& a, const AdapterRef& b) { return a.digest < b.digest; });
}

}  // namespace

AdapterRegistry::Impl::Impl(Parts parts, const AdapterReader& reader, SwitchEngine& engine)
    : options_(std::move(parts.options)),
      paths_(std::move(parts.client_paths)),
      all_paths_(std::move(parts.all_paths)),
      store_(std::move(parts.store)),
      uploads_(std::move(parts.uploads)),
      reader_(reader),
      engine_(engine),
      slots_(std::max(1, options_.max_concurrent_loads)),
      memory_(options_.memory_budget_bytes),
      states_(engine, memory_),
      deltas_(reader, all_paths_, memory_, slots_) {
  default_.state = engine_.base();
}

// ---- Names --------------------------------------------------------------------------------------

absl::StatusOr<RecordPtr> AdapterRegistry::Impl::Find(std::string_view name) const {
  SHIRA_ASSIGN_OR_RETURN(AdapterReference reference, ParseAdapterReference(name));
  if (const AliasInfo* alias = aliases_.Find(name)) {
    reference = {alias->target.name, alias->target.version};
  }
  const absl::Status absent = absl::NotFoundError(StrCat("no adapter '", name, "' is loaded"));
  const auto found = records_.find(reference.name);
  if (found == records_.end()) return absent;
  const AdapterVersions& versions = found->second;
  if (reference.version.has_value()) {
    const auto version = versions.find(*reference.version);
    if (version == versions.end()) return absent;
    return version->second;
  }
  RecordPtr newest = NewestOf(versions);
  if (newest == nullptr) return absent;
  return newest;
}

absl::Status AdapterRegistry::Impl::ExpectReady(const AdapterRecord& record,
                                                std::string_view name) {
  if (record.state == AdapterState::kReady) return absl::OkStatus();
  return absl::FailedPreconditionError(StrCat("adapter '", name, "' is ",
                                              AdapterStateName(record.state),
                                              record.error.empty() ? "" : ": ", record.error));
}

absl::StatusOr<std::vector<RecordPtr>> AdapterRegistry::Impl::FindReady(
    absl::Span<const AdapterSelectionTerm> terms) const {
  std::vector<RecordPtr> records;
  for (const AdapterSelectionTerm& term : terms) {
    if (!std::isfinite(term.weight)) {
      return absl::InvalidArgumentError(
          StrCat("the weight of adapter '", term.name, "' is not a finite number"));
    }
    SHIRA_ASSIGN_OR_RETURN(RecordPtr record, Find(term.name));
    SHIRA_RETURN_IF_ERROR(ExpectReady(*record, term.name));
    for (const RecordPtr& other : records) {
      if (other == record) {
        return absl::InvalidArgumentError(StrCat("adapter '", term.name, "' is named twice"));
      }
      if (other->adapter->digest == record->adapter->digest) {
        return absl::InvalidArgumentError(StrCat("adapters '", other->name, "' and '", term.name,
                                                 "' have the same content: name one of them"));
      }
    }
    records.push_back(std::move(record));
  }
  return records;
}

// ---- Pins ---------------------------------------------------------------------------------------

absl::StatusOr<AdapterRegistry::Impl::Pinned> AdapterRegistry::Impl::Pin(
    absl::Span<const AdapterSelectionTerm> terms) {
  Pinned pinned;
  std::vector<DeltaSource> sources;
  std::vector<StateTerm> key_terms;
  {
    absl::MutexLock lock(&mutex_);
    SHIRA_ASSIGN_OR_RETURN(pinned.records, FindReady(terms));
    for (size_t i = 0; i < terms.size(); ++i) {
      const AdapterRecord& record = *pinned.records[i];
      sources.push_back(record.source());
      key_terms.push_back({record.adapter->digest, terms[i].weight});
      pinned.adapters.push_back(
          {record.name, record.version, record.adapter->digest, terms[i].weight});
    }
    PinRecords(pinned.records);
  }
  absl::Cleanup unpin = [&] { UnpinRecords(pinned.records); };
  SortCanonically(pinned.adapters);
  SHIRA_ASSIGN_OR_RETURN(const StateKey key, StateKey::Create(std::move(key_terms)));
  const absl::Time start = absl::Now();
  bool compiled = false;
  bool read_files = false;
  const auto read = [&]() -> absl::StatusOr<std::vector<WeightedAdapterRef>> {
    compiled = true;
    std::vector<WeightedAdapterRef> adapters;
    for (size_t i = 0; i < terms.size(); ++i) {
      SHIRA_ASSIGN_OR_RETURN(DeltaSupplier::Supply supply, deltas_.Get(sources[i]));
      read_files |= supply.was_read;
      adapters.push_back({std::move(supply.deltas), terms[i].weight});
    }
    return adapters;
  };
  SHIRA_ASSIGN_OR_RETURN(pinned.state, states_.Get(key, read));
  std::move(unpin).Cancel();
  absl::MutexLock lock(&mutex_);
  if (read_files) {
    stats_.cold_starts.Add(absl::Now() - start);
  } else if (compiled) {
    stats_.compilations.Add(absl::Now() - start);
  } else if (!terms.empty()) {
    ++stats_.warm_uses;
  }
  return pinned;
}

void AdapterRegistry::Impl::PinRecords(absl::Span<const RecordPtr> records) {
  for (const RecordPtr& record : records) {
    ++record->pins;
    record->last_use = absl::Now();
  }
}

void AdapterRegistry::Impl::UnpinRecords(absl::Span<const RecordPtr> records) {
  absl::MutexLock lock(&mutex_);
  for (const RecordPtr& record : records) {
    --record->pins;
    record->last_use = absl::Now();
    if (record->retiring && record->pins == 0) Erase(record);
  }
}

StateHandle AdapterRegistry::Impl::ToHandle(Pinned pinned) {
  std::function<void()> release;
  if (!pinned.records.empty()) {
    release = [self = shared_from_this(), records = std::move(pinned.records)] {
      self->UnpinRecords(records);
    };
  }
  return StateHandle(std::move(pinned.state), std::move(pinned.adapters), std::move(release));
}

absl::StatusOr<StateHandle> AdapterRegistry::Impl::Acquire(
    absl::Span<const AdapterSelectionTerm> terms) {
  SHIRA_ASSIGN_OR_RETURN(Pinned pinned, Pin(terms));
  return ToHandle(std::move(pinned));
}

// ---- The default state --------------------------------------------------------------------------

absl::StatusOr<StateHandle> AdapterRegistry::Impl::AcquireDefault() {
  std::vector<AdapterSelectionTerm> terms;
  Pinned pinned;
  {
    absl::MutexLock lock(&mutex_);
    terms = default_terms_;
    const absl::StatusOr<std::vector<RecordPtr>> records = FindReady(terms);
    if (!records.ok()) {
      return absl::Status(records.status().code(),
                          StrCat("the default state: ", ToStd(records.status().message()),
                                 ": load it, or apply another state"));
    }
    if (*records == default_.records) {
      pinned = default_;
      PinRecords(pinned.records);
      if (!terms.empty()) ++stats_.warm_uses;
    }
  }
  if (pinned.state == nullptr) {
    SHIRA_ASSIGN_OR_RETURN(pinned, Pin(terms));
    absl::MutexLock lock(&mutex_);
    if (default_terms_ == terms) default_ = pinned;
  }
  return ToHandle(std::move(pinned));
}

absl::Status AdapterRegistry::Impl::SetDefault(absl::Span<const AdapterSelectionTerm> terms) {
  SHIRA_ASSIGN_OR_RETURN(Pinned pinned, Pin(terms));
  {
    const absl::Cleanup unpin = [this, records = pinned.records] { UnpinRecords(records); };
    Pinned previous;  // dropped after the lock is
    absl::MutexLock lock(&mutex_);
    for (const RecordPtr& record : pinned.records) {
      SHIRA_RETURN_IF_ERROR(ExpectReady(*record, record->name));
    }
    previous = std::exchange(default_, std::move(pinned));
    default_terms_.assign(terms.begin(), terms.end());
    ++changes_;
    for (const RecordPtr& record : previous.records) RetireUnkept(record->name);
  }
  SaveChanges();
  return absl::OkStatus();
}

void AdapterRegistry::Impl::RefreshDefault() {
  Pinned previous;  // dropped after the lock is
  absl::MutexLock lock(&mutex_);
  const absl::StatusOr<std::vector<RecordPtr>> records = FindReady(default_terms_);
  if (records.ok() && *records == default_.records) return;
  previous = std::exchange(default_, Pinned());
  if (default_terms_.empty()) default_.state = engine_.base();
}

bool AdapterRegistry::Impl::IsDefault(const AdapterRecord& record) const {
  return std::any_of(default_terms_.begin(), default_terms_.end(),
                     [&](const AdapterSelectionTerm& term) {
                       const absl::StatusOr<RecordPtr> named = Find(term.name);
                       return named.ok() && named->get() == &record;
                     });
}

std::vector<AdapterRef> AdapterRegistry::Impl::DefaultState() const {
  absl::MutexLock lock(&mutex_);
  std::vector<AdapterRef> adapters;
  for (const AdapterSelectionTerm& term : default_terms_) {
    AdapterRef& ref = adapters.emplace_back();
    ref.name = term.name;
    ref.weight = term.weight;
    const absl::StatusOr<RecordPtr> record = Find(term.name);
    if (!record.ok() || (*record)->state != AdapterState::kReady) continue;
    ref = {(*record)->name, (*record)->version, (*record)->adapter->digest, term.weight};
  }
  SortCanonically(adapters);
  return adapters;
}

// ---- Views --------------------------------------------------------------------------------------

AdapterInfo AdapterRegistry::Impl::Describe(const AdapterRecord& record,
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
    info.residency = Contains(resident, record.adapter->digest) ? AdapterResidency::kFused
                     : kept.state || held != nullptr            ? AdapterResidency::kInMemory
                                                                : AdapterResidency::kOnDisk;
  }
  return info;
}

std::optional<AdapterInfo> AdapterRegistry::Impl::Get(std::string_view name) const {
  const std::shared_ptr<const CompiledState> resident = engine_.resident();
  absl::MutexLock lock(&mutex_);
  const absl::StatusOr<RecordPtr> record = Find(name);
  if (!record.ok()) return std::nullopt;
  return Describe(**record, resident->key);
}

std::vector<AdapterInfo> AdapterRegistry::Impl::List() const {
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

std::vector<AdapterRef> AdapterRegistry::Impl::Describe(const StateKey& key) const {
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

absl::StatusOr<std::shared_ptr<const SparseAdapter>> AdapterRegistry::Impl::Deltas(
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

RegistryStats AdapterRegistry::Impl::stats() const {
  absl::MutexLock lock(&mutex_);
  RegistryStats stats = stats_;
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
  stats.aliases = static_cast<int64_t>(aliases_.List().size());
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

AdapterRegistry::AdapterRegistry(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
AdapterRegistry::~AdapterRegistry() = default;

absl::StatusOr<std::unique_ptr<AdapterRegistry>> AdapterRegistry::Create(
    Options options, const AdapterReader& reader, SwitchEngine& engine) {
  std::unique_ptr<UploadStore> uploads;
  std::vector<std::string> own_folders;
  if (options.uploads.has_value()) {
    SHIRA_ASSIGN_OR_RETURN(uploads, UploadStore::Open(*options.uploads));
    own_folders.push_back(uploads->folder());
  }
  std::unique_ptr<StateStore> store;
  if (!options.state_file.empty()) {
    SHIRA_ASSIGN_OR_RETURN(store, StateStore::Open(options.state_file));
    own_folders.push_back(store->blends_folder());
  }
  SHIRA_ASSIGN_OR_RETURN(PathConfinement client_paths, PathConfinement::Create(options.roots));
  own_folders.insert(own_folders.end(), options.roots.begin(), options.roots.end());
  SHIRA_ASSIGN_OR_RETURN(PathConfinement all_paths, PathConfinement::Create(own_folders));
  auto impl = std::make_shared<Impl>(
      Impl::Parts{std::move(options), std::move(client_paths), std::move(all_paths),
                  std::move(store), std::move(uploads)},
      reader, engine);
  return std::unique_ptr<AdapterRegistry>(new AdapterRegistry(std::move(impl)));
}

AdapterRegistry::RestoreReport AdapterRegistry::Restore() { return impl_->Restore(); }

absl::StatusOr<AdapterRegistry::LoadResult> AdapterRegistry::Load(const std::string& name,
                                                                  const std::string& path,
                                                                  std::string_view expected_sha256,
                                                                  const LoadOptions& options) {
  return impl_->Load(name, path, expected_sha256, options);
}

absl::StatusOr<AdapterRegistry::LoadResult> AdapterRegistry::Load(
    const std::string& name, const std::string& path, std::string_view expected_sha256) {
  return impl_->Load(name, path, expected_sha256, LoadOptions());
}

absl::StatusOr<AdapterRegistry::LoadResult> AdapterRegistry::LoadUpload(
    const std::string& name, const std::string& path, std::string_view expected_sha256,
    const LoadOptions& options) {
  return impl_->LoadUpload(name, path, expected_sha256, options);
}

UploadStore* AdapterRegistry::uploads() { return impl_->uploads(); }

absl::StatusOr<AdapterRegistry::BlendResult> AdapterRegistry::CreateBlend(
    const std::string& name, absl::Span<const AdapterSelectionTerm> parts,
    const FusionOptions& options, const std::string& save_path) {
  return impl_->CreateBlend(name, parts, options, save_path);
}

absl::Status AdapterRegistry::Unload(const std::string& name, absl::Time deadline,
                                     absl::FunctionRef<void(const AdapterInfo&)> on_unloading) {
  return impl_->Unload(name, deadline, on_unloading);
}

absl::StatusOr<AdapterInfo> AdapterRegistry::PinInMemory(std::string_view name) {
  return impl_->PinInMemory(name);
}

absl::StatusOr<AdapterInfo> AdapterRegistry::Unpin(std::string_view name) {
  return impl_->Unpin(name);
}

absl::StatusOr<AliasInfo> AdapterRegistry::SetAlias(const std::string& alias,
                                                    std::string_view target) {
  return impl_->SetAlias(alias, target);
}

absl::StatusOr<AliasInfo> AdapterRegistry::RollbackAlias(std::string_view alias) {
  return impl_->RollbackAlias(alias);
}

absl::Status AdapterRegistry::DeleteAlias(std::string_view alias) {
  return impl_->DeleteAlias(alias);
}

std::vector<AliasInfo> AdapterRegistry::Aliases() const { return impl_->Aliases(); }

std::optional<AdapterInfo> AdapterRegistry::Get(std::string_view name) const {
  return impl_->Get(name);
}

std::vector<AdapterInfo> AdapterRegistry::List() const { return impl_->List(); }

absl::StatusOr<StateHandle> AdapterRegistry::Acquire(absl::Span<const AdapterSelectionTerm> terms) {
  return impl_->Acquire(terms);
}

absl::StatusOr<StateHandle> AdapterRegistry::AcquireDefault() { return impl_->AcquireDefault(); }

absl::Status AdapterRegistry::SetDefault(absl::Span<const AdapterSelectionTerm> terms) {
  return impl_->SetDefault(terms);
}

std::vector<AdapterRef> AdapterRegistry::Describe(const StateKey& key) const {
  return impl_->Describe(key);
}

std::vector<AdapterRef> AdapterRegistry::DefaultState() const { return impl_->DefaultState(); }

absl::StatusOr<std::shared_ptr<const SparseAdapter>> AdapterRegistry::Deltas(
    std::string_view name) {
  return impl_->Deltas(name);
}

int64_t AdapterRegistry::memory_in_use_bytes() const { return impl_->memory_in_use_bytes(); }

RegistryStats AdapterRegistry::stats() const { return impl_->stats(); }

}  // namespace shira
