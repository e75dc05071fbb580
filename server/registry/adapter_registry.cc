#include "server/registry/adapter_registry.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/synchronization/mutex.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/registry/adapter_name.h"
#include "server/registry/memory_budget.h"
#include "server/registry/path_confinement.h"
#include "server/registry/state_supplier.h"

namespace shira {
namespace {

// One name's entry. Guarded by Impl::mutex_ (the annotation cannot say so across classes).
struct Record {
  std::string name;
  int64_t version = 0;
  AdapterState state = AdapterState::kLoading;
  std::string path;
  std::string error;
  std::shared_ptr<const SparseAdapter> adapter;  // set iff kReady or kUnloading
  StateKey own_state;                            // this adapter alone, with weight 1
  // A Load() is under way, also one that finds the same content again and leaves kReady as it is.
  bool load_running = false;
  int64_t pins = 0;  // handles
  absl::Time load_time = absl::InfinitePast();
  absl::Duration load_duration;
  absl::Time last_use = absl::InfinitePast();
};
using RecordPtr = std::shared_ptr<Record>;

absl::Status MoveTo(Record& record, AdapterState to) {
  if (!IsLegalTransition(record.state, to)) {
    return absl::FailedPreconditionError(StrCat("adapter '", record.name, "' is ",
                                                AdapterStateName(record.state),
                                                " and cannot become ", AdapterStateName(to)));
  }
  record.state = to;
  return absl::OkStatus();
}

absl::Status CheckExpectedDigest(std::string_view expected) {
  const bool hexadecimal = std::all_of(expected.begin(), expected.end(), [](char c) {
    return absl::ascii_isxdigit(static_cast<unsigned char>(c));
  });
  if (!expected.empty() && (expected.size() != 64 || !hexadecimal)) {
    return absl::InvalidArgumentError(
        StrCat("the expected SHA-256 must have 64 hexadecimal digits; it has ", expected.size(),
               " characters"));
  }
  return absl::OkStatus();
}

bool Contains(const StateKey& key, const Sha256Digest& adapter) {
  const auto terms = key.terms();
  return std::any_of(terms.begin(), terms.end(),
                     [&](const StateTerm& term) { return term.adapter == adapter; });
}

}  // namespace

class AdapterRegistry::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(Options options, PathConfinement paths, const AdapterReader& reader, SwitchEngine& engine)
      : options_(std::move(options)),
        paths_(std::move(paths)),
        reader_(reader),
        engine_(engine),
        states_(engine, options_.memory_budget_bytes) {
    default_.state = engine_.base();
  }

  absl::StatusOr<LoadResult> Load(const std::string& name, const std::string& path,
                                  std::string_view expected_sha256) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Unload(const std::string& name, absl::Time deadline,
                      absl::FunctionRef<void(const AdapterInfo&)> on_unloading)
      ABSL_LOCKS_EXCLUDED(mutex_);
  std::optional<AdapterInfo> Get(std::string_view name) const ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<AdapterInfo> List() const ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<StateHandle> Acquire(absl::Span<const AdapterSelectionTerm> terms)
      ABSL_LOCKS_EXCLUDED(mutex_);
  StateHandle AcquireDefault() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status SetDefault(absl::Span<const AdapterSelectionTerm> terms) ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<AdapterRef> Describe(const StateKey& key) const ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<AdapterRef> DefaultState() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // A state with its adapters' records, each pinned once.
  struct Pinned {
    std::shared_ptr<const CompiledState> state;
    std::vector<AdapterRef> adapters;  // in the state's canonical order
    std::vector<RecordPtr> records;
  };

  absl::StatusOr<Pinned> Pin(absl::Span<const AdapterSelectionTerm> terms)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void PinRecords(absl::Span<const RecordPtr> records) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void UnpinRecords(absl::Span<const RecordPtr> records) ABSL_LOCKS_EXCLUDED(mutex_);
  StateHandle ToHandle(Pinned pinned);

  // The records that `terms` name, all of them kReady.
  absl::StatusOr<std::vector<RecordPtr>> FindReady(
      absl::Span<const AdapterSelectionTerm> terms) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Publishes kLoading (or marks a kReady record as being looked at again).
  absl::StatusOr<RecordPtr> BeginLoad(const std::string& name, const std::string& path)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<std::shared_ptr<const SparseAdapter>> Read(const std::string& path,
                                                            std::string_view expected_sha256) const;
  // Takes the memory and compiles the adapter's own state, so that switching to it needs no more.
  absl::StatusOr<std::shared_ptr<const SparseAdapter>> MakeReady(
      std::shared_ptr<const SparseAdapter> adapter);

  AdapterInfo Describe(const Record& record, const StateKey& resident) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Constant after construction.
  const Options options_;
  const PathConfinement paths_;
  // Not used by handles, which may outlive them.
  const AdapterReader& reader_;
  SwitchEngine& engine_;

  // Synchronises itself.
  StateSupplier states_;

  mutable absl::Mutex mutex_;
  std::map<std::string, RecordPtr, std::less<>> records_ ABSL_GUARDED_BY(mutex_);
  // The last version of every name that was ever ready: a version is never used twice.
  std::map<std::string, int64_t> versions_ ABSL_GUARDED_BY(mutex_);
  Pinned default_ ABSL_GUARDED_BY(mutex_);  // its records' pins are not counted
};

// ---- Loading ------------------------------------------------------------------------------------

absl::StatusOr<AdapterRegistry::LoadResult> AdapterRegistry::Impl::Load(
    const std::string& name, const std::string& path, std::string_view expected_sha256) {
  SHIRA_RETURN_IF_ERROR(ValidateAdapterName(name));
  SHIRA_RETURN_IF_ERROR(CheckExpectedDigest(expected_sha256));
  SHIRA_ASSIGN_OR_RETURN(const std::string resolved, paths_.Resolve(path));
  const absl::Time start = absl::Now();
  SHIRA_ASSIGN_OR_RETURN(const RecordPtr record, BeginLoad(name, resolved));

  absl::StatusOr<std::shared_ptr<const SparseAdapter>> adapter = Read(resolved, expected_sha256);
  std::shared_ptr<const SparseAdapter> loaded;
  {
    absl::MutexLock lock(&mutex_);
    loaded = record->adapter;
  }
  if (loaded == nullptr && adapter.ok()) adapter = MakeReady(*std::move(adapter));

  const std::shared_ptr<const CompiledState> resident = engine_.resident();
  absl::MutexLock lock(&mutex_);
  record->load_running = false;
  if (loaded != nullptr) {
    SHIRA_RETURN_IF_ERROR(adapter.status());
    if ((*adapter)->digest != loaded->digest) {
      return absl::AlreadyExistsError(StrCat("adapter '", name, "' is loaded with SHA-256 ",
                                             loaded->digest.Hex(), ", but ", resolved, " has ",
                                             (*adapter)->digest.Hex(), ": unload it first"));
    }
    return LoadResult{Describe(*record, resident->key), /*already_loaded=*/true};
  }
  if (!adapter.ok()) {
    SHIRA_RETURN_IF_ERROR(MoveTo(*record, AdapterState::kFailed));
    record->error = std::string(adapter.status().message());
    return adapter.status();
  }
  SHIRA_RETURN_IF_ERROR(MoveTo(*record, AdapterState::kReady));
  SHIRA_ASSIGN_OR_RETURN(record->own_state, StateKey::Create({{(*adapter)->digest, 1.0}}));
  record->adapter = *std::move(adapter);
  record->version = ++versions_[name];
  record->load_time = absl::Now();
  record->load_duration = record->load_time - start;
  return LoadResult{Describe(*record, resident->key), /*already_loaded=*/false};
}

absl::StatusOr<RecordPtr> AdapterRegistry::Impl::BeginLoad(const std::string& name,
                                                           const std::string& path) {
  absl::MutexLock lock(&mutex_);
  const auto found = records_.find(name);
  RecordPtr record = found == records_.end() ? nullptr : found->second;
  if (record == nullptr) {
    if (static_cast<int64_t>(records_.size()) >= options_.max_adapters) {
      return absl::ResourceExhaustedError(
          StrCat("cannot load adapter '", name, "': there are ", records_.size(),
                 " adapters, the most that are allowed; unload some"));
    }
    record = std::make_shared<Record>();
    record->name = name;
    records_[name] = record;
  } else if (record->load_running || record->state == AdapterState::kUnloading) {
    return absl::AbortedError(StrCat("adapter '", name, "' is being ",
                                     record->load_running ? "loaded" : "unloaded",
                                     " by another call: try again when that is over"));
  } else if (record->state == AdapterState::kFailed) {
    SHIRA_RETURN_IF_ERROR(MoveTo(*record, AdapterState::kLoading));
    record->error.clear();
  }
  record->load_running = true;
  if (record->adapter == nullptr) record->path = path;
  return record;
}

absl::StatusOr<std::shared_ptr<const SparseAdapter>> AdapterRegistry::Impl::Read(
    const std::string& path, std::string_view expected_sha256) const {
  SHIRA_ASSIGN_OR_RETURN(std::shared_ptr<const SparseAdapter> adapter, reader_.Read(path));
  const std::string expected = absl::AsciiStrToLower(ToAbsl(expected_sha256));
  if (!expected.empty() && expected != adapter->digest.Hex()) {
    return absl::DataLossError(
        StrCat(path, " has SHA-256 ", adapter->digest.Hex(), ", but expected is ", expected));
  }
  return adapter;
}

absl::StatusOr<std::shared_ptr<const SparseAdapter>> AdapterRegistry::Impl::MakeReady(
    std::shared_ptr<const SparseAdapter> adapter) {
  SHIRA_ASSIGN_OR_RETURN(MemoryBudget::Reservation reservation,
                         states_.Reserve(adapter->memory_bytes()));
  adapter = WithReservation(std::move(adapter), std::move(reservation));
  SHIRA_ASSIGN_OR_RETURN(const StateKey key, StateKey::Create({{adapter->digest, 1.0}}));
  SHIRA_RETURN_IF_ERROR(states_.Get(key, {{adapter, 1.0}}).status());
  return adapter;
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
    SHIRA_RETURN_IF_ERROR(MoveTo(*record, AdapterState::kUnloading));
    info = Describe(*record, resident->key);
  }
  on_unloading(info);
  info.adapter = nullptr;  // or it would outlive the unloading

  // Freed after the lock is.
  std::shared_ptr<const SparseAdapter> adapter;
  absl::MutexLock lock(&mutex_);
  const auto unused = [&] { return record->pins == 0; };
  if (!mutex_.AwaitWithDeadline(absl::Condition(&unused), deadline)) {
    SHIRA_RETURN_IF_ERROR(MoveTo(*record, AdapterState::kReady));
    return absl::DeadlineExceededError(
        StrCat("adapter '", name, "' is still used by ", record->pins,
               " requests; it stays loaded: try again, or cancel them"));
  }
  adapter = std::move(record->adapter);
  records_.erase(name);
  const bool has_twin = std::any_of(records_.begin(), records_.end(), [&](const auto& entry) {
    return entry.second->adapter != nullptr && entry.second->adapter->digest == adapter->digest;
  });
  if (!has_twin) states_.DropStatesOf(adapter->digest);
  return absl::OkStatus();
}

// ---- Pinning ------------------------------------------------------------------------------------

absl::StatusOr<std::vector<RecordPtr>> AdapterRegistry::Impl::FindReady(
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
  std::vector<WeightedAdapterRef> adapters;
  std::vector<StateTerm> key_terms;
  {
    absl::MutexLock lock(&mutex_);
    SHIRA_ASSIGN_OR_RETURN(pinned.records, FindReady(terms));
    for (size_t i = 0; i < terms.size(); ++i) {
      const Record& record = *pinned.records[i];
      adapters.push_back({record.adapter, terms[i].weight});
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
  SHIRA_ASSIGN_OR_RETURN(pinned.state, states_.Get(key, std::move(adapters)));
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

AdapterInfo AdapterRegistry::Impl::Describe(const Record& record, const StateKey& resident) const {
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
    info.residency = Contains(resident, record.adapter->digest) ? AdapterResidency::kFused
                                                                : AdapterResidency::kInMemory;
    info.memory_bytes = record.adapter->memory_bytes() + states_.CachedBytes(record.own_state);
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

}  // namespace shira
