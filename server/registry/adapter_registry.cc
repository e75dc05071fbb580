#include "server/registry/adapter_registry.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "base/strings.h"
#include "server/registry/adapter_registry_impl.h"

namespace shira {
namespace {

bool Contains(const StateKey& key, const Sha256Digest& adapter) {
  const auto terms = key.terms();
  return std::any_of(terms.begin(), terms.end(),
                     [&](const StateTerm& term) { return term.adapter == adapter; });
}

}  // namespace

DeltaSource AdapterRecord::source() const {
  return {name, adapter->digest, path, file_digest, held};
}

absl::Status AdapterRecord::MoveTo(AdapterState to) {
  if (!IsLegalTransition(state, to)) {
    return absl::FailedPreconditionError(StrCat("adapter '", name, "' is ", AdapterStateName(state),
                                                " and cannot become ", AdapterStateName(to)));
  }
  state = to;
  return absl::OkStatus();
}

// ---- Unloading ----------------------------------------------------------------------------------

absl::Status AdapterRegistry::Impl::Unload(
    const std::string& name, absl::Time deadline,
    absl::FunctionRef<void(const AdapterInfo&)> on_unloading) {
  RecordPtr record;
  AdapterInfo info;
  {
    const std::shared_ptr<const CompiledState> resident = engine_.resident();
    absl::MutexLock lock(&mutex_);
    const auto found = records_.find(name);
    if (found == records_.end()) {
      return absl::NotFoundError(StrCat("no adapter '", name, "' is loaded"));
    }
    record = found->second;
    if (record->load_running || record->state == AdapterState::kUnloading) {
      return absl::AbortedError(StrCat("adapter '", name, "' is being ",
                                       record->load_running ? "loaded" : "unloaded",
                                       " by another call: try again when that is over"));
    }
    if (record->state == AdapterState::kFailed) {
      records_.erase(found);
      return absl::OkStatus();
    }
    const auto& defaults = default_.records;
    if (std::find(defaults.begin(), defaults.end(), record) != defaults.end()) {
      return absl::FailedPreconditionError(
          StrCat("adapter '", name, "' is part of the default state: revert to the base first"));
    }
    SHIRA_RETURN_IF_ERROR(record->MoveTo(AdapterState::kUnloading));
    info = Describe(*record, resident->key);
  }
  on_unloading(info);
  std::shared_ptr<const SparseAdapter> held;  // freed after the lock is
  absl::MutexLock lock(&mutex_);
  const auto unused = [&] { return record->pins == 0; };
  if (!mutex_.AwaitWithTimeout(absl::Condition(&unused), deadline - SteadyNow())) {
    SHIRA_RETURN_IF_ERROR(record->MoveTo(AdapterState::kReady));
    return absl::DeadlineExceededError(
        StrCat("adapter '", name, "' is still used by ", record->pins,
               " requests; it stays loaded: try again, or cancel them"));
  }
  held = std::move(record->held);
  const Sha256Digest digest = record->adapter->digest;
  records_.erase(name);
  DropUnlessLoaded(digest);
  return absl::OkStatus();
}

void AdapterRegistry::Impl::DropUnlessLoaded(const Sha256Digest& digest) {
  const bool loaded = std::any_of(records_.begin(), records_.end(), [&](const auto& entry) {
    return entry.second->adapter != nullptr && entry.second->adapter->digest == digest;
  });
  if (!loaded) memory_.Drop(digest);
}

// ---- Pinning ------------------------------------------------------------------------------------

absl::StatusOr<std::vector<AdapterRegistry::Impl::RecordPtr>> AdapterRegistry::Impl::FindReady(
    absl::Span<const AdapterSelectionTerm> terms) const {
  std::vector<RecordPtr> records;
  for (const AdapterSelectionTerm& term : terms) {
    if (!std::isfinite(term.weight)) {
      return absl::InvalidArgumentError(
          StrCat("the weight of adapter '", term.name, "' is not a finite number"));
    }
    const auto found = records_.find(term.name);
    if (found == records_.end()) {
      return absl::NotFoundError(StrCat("no adapter '", term.name, "' is loaded"));
    }
    const RecordPtr& record = found->second;
    if (record->state != AdapterState::kReady) {
      return absl::FailedPreconditionError(
          StrCat("adapter '", term.name, "' is ", AdapterStateName(record->state),
                 record->error.empty() ? "" : ": ", record->error));
    }
    for (const RecordPtr& other : records) {
      if (other == record) {
        return absl::InvalidArgumentError(StrCat("adapter '", term.name, "' is named twice"));
      }
      if (other->adapter->digest == record->adapter->digest) {
        return absl::InvalidArgumentError(StrCat("adapters '", other->name, "' and '", term.name,
                                                 "' have the same content: name one of them"));
      }
    }
    records.push_back(record);
  }
  return records;
}

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
  std::sort(pinned.adapters.begin(), pinned.adapters.end(),
            [](const AdapterRef& a, const AdapterRef& b) { return a.digest < b.digest; });
  SHIRA_ASSIGN_OR_RETURN(const StateKey key, StateKey::Create(std::move(key_terms)));
  const auto read = [&]() -> absl::StatusOr<std::vector<WeightedAdapterRef>> {
    std::vector<WeightedAdapterRef> adapters;
    for (size_t i = 0; i < terms.size(); ++i) {
      SHIRA_ASSIGN_OR_RETURN(auto deltas, deltas_.Get(sources[i]));
      adapters.push_back({std::move(deltas), terms[i].weight});
    }
    return adapters;
  };
  SHIRA_ASSIGN_OR_RETURN(pinned.state, states_.Get(key, read));
  std::move(unpin).Cancel();
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

StateHandle AdapterRegistry::Impl::AcquireDefault() {
  Pinned pinned;
  {
    absl::MutexLock lock(&mutex_);
    pinned = default_;
    PinRecords(pinned.records);
  }
  return ToHandle(std::move(pinned));
}

absl::Status AdapterRegistry::Impl::SetDefault(absl::Span<const AdapterSelectionTerm> terms) {
  SHIRA_ASSIGN_OR_RETURN(Pinned pinned, Pin(terms));
  const absl::Cleanup unpin = [this, records = pinned.records] { UnpinRecords(records); };
  Pinned previous;  // dropped after the lock is
  absl::MutexLock lock(&mutex_);
  for (const RecordPtr& record : pinned.records) {
    if (record->state != AdapterState::kReady) {
      return absl::FailedPreconditionError(
          StrCat("adapter '", record->name, "' is ", AdapterStateName(record->state)));
    }
  }
  previous = std::exchange(default_, std::move(pinned));
  return absl::OkStatus();
}

// ---- Views --------------------------------------------------------------------------------------

AdapterInfo AdapterRegistry::Impl::Describe(const AdapterRecord& record,
                                            const StateKey& resident) const {
  AdapterInfo info;
  info.name = record.name;
  info.version = record.version;
  info.state = record.state;
  info.path = record.path;
  info.error = record.error;
  info.adapter = record.adapter;
  info.running_requests = record.pins;
  info.load_time = record.load_time;
  info.load_duration = record.load_duration;
  info.last_use = record.last_use;
  if (record.adapter != nullptr) {
    const AdapterMemory::Kept kept = memory_.KeptOf(record.adapter->digest, record.own_state);
    info.memory_bytes = kept.bytes;
    if (record.held != nullptr) {
      const MemoryParts parts = PartsOf(*record.held);
      info.memory_bytes += kept.state ? parts.own_bytes : parts.full_bytes();
    }
    info.residency = Contains(resident, record.adapter->digest) ? AdapterResidency::kFused
                     : kept.state || record.held != nullptr     ? AdapterResidency::kInMemory
                                                                : AdapterResidency::kOnDisk;
  }
  return info;
}

std::optional<AdapterInfo> AdapterRegistry::Impl::Get(std::string_view name) const {
  const std::shared_ptr<const CompiledState> resident = engine_.resident();
  absl::MutexLock lock(&mutex_);
  const auto found = records_.find(name);
  if (found == records_.end()) return std::nullopt;
  return Describe(*found->second, resident->key);
}

std::vector<AdapterInfo> AdapterRegistry::Impl::List() const {
  const std::shared_ptr<const CompiledState> resident = engine_.resident();
  absl::MutexLock lock(&mutex_);
  std::vector<AdapterInfo> infos;
  infos.reserve(records_.size());
  for (const auto& [name, record] : records_) infos.push_back(Describe(*record, resident->key));
  return infos;
}

std::vector<AdapterRef> AdapterRegistry::Impl::Describe(const StateKey& key) const {
  absl::MutexLock lock(&mutex_);
  std::vector<AdapterRef> adapters;
  for (const StateTerm& term : key.terms()) {
    AdapterRef& ref = adapters.emplace_back();
    ref.digest = term.adapter;
    ref.weight = term.weight;
    const auto found = std::find_if(records_.begin(), records_.end(), [&](const auto& entry) {
      return entry.second->adapter != nullptr && entry.second->adapter->digest == term.adapter;
    });
    if (found != records_.end()) {
      ref.name = found->second->name;
      ref.version = found->second->version;
    }
  }
  return adapters;
}

std::vector<AdapterRef> AdapterRegistry::Impl::DefaultState() const {
  absl::MutexLock lock(&mutex_);
  return default_.adapters;
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
  absl::StatusOr<std::shared_ptr<const SparseAdapter>> deltas = deltas_.Get(source);
  absl::MutexLock lock(&mutex_);
  --record->pins;
  return deltas;
}

// ---- The public face ----------------------------------------------------------------------------

AdapterRegistry::AdapterRegistry(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
AdapterRegistry::~AdapterRegistry() = default;

absl::StatusOr<std::unique_ptr<AdapterRegistry>> AdapterRegistry::Create(
    Options options, const AdapterReader& reader, SwitchEngine& engine) {
  SHIRA_ASSIGN_OR_RETURN(PathConfinement paths, PathConfinement::Create(options.roots));
  auto impl = std::make_shared<Impl>(std::move(options), std::move(paths), reader, engine);
  return std::unique_ptr<AdapterRegistry>(new AdapterRegistry(std::move(impl)));
}

absl::StatusOr<AdapterRegistry::LoadResult> AdapterRegistry::Load(
    const std::string& name, const std::string& path, std::string_view expected_sha256) {
  return impl_->Load(name, path, expected_sha256);
}

absl::StatusOr<AdapterRegistry::BlendResult> AdapterRegistry::CreateBlend(
    const std::string& name, absl::Span<const AdapterSelectionTerm> parts,
    const FusionOptions& options, const std::string& save_path) {
  return impl_->CreateBlend(name, parts, options, save_path);
}

absl::Status AdapterRegistry::Unload(const std::string& name, absl::Time deadline,
                                     absl::FunctionRef<void(const AdapterInfo&)> on_unloading) {
  return impl_->Unload(name, deadline, on_unloading);
}

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

}  // namespace shira
