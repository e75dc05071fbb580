#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "base/strings.h"
#include "server/lifecycle/adapter_lifecycle_impl.h"

namespace shira {
namespace {

void SortCanonically(std::vector<AdapterRef>& adapters) {
  std::sort(adapters.begin(), adapters.end(),
            [](const AdapterRef& a, const AdapterRef& b) { return a.digest < b.digest; });
}

}  // namespace

// ---- Names --------------------------------------------------------------------------------------

absl::StatusOr<RecordPtr> AdapterLifecycle::Impl::Find(std::string_view name) const {
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

absl::Status AdapterLifecycle::Impl::ExpectReady(const AdapterRecord& record,
                                                std::string_view name) {
  if (record.state == AdapterState::kReady) return absl::OkStatus();
  return absl::FailedPreconditionError(StrCat("adapter '", name, "' is ",
                                              AdapterStateName(record.state),
                                              record.error.empty() ? "" : ": ", record.error));
}

absl::StatusOr<std::vector<RecordPtr>> AdapterLifecycle::Impl::FindReady(
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

absl::StatusOr<std::vector<RecordPtr>> AdapterLifecycle::Impl::FindDefault() const {
  absl::StatusOr<std::vector<RecordPtr>> records = FindReady(default_terms_);
  if (records.ok()) return records;
  return absl::Status(records.status().code(),
                      StrCat("the default state: ", ToStd(records.status().message()),
                             ": load it, or apply another state"));
}

std::vector<AdapterRef> AdapterLifecycle::Impl::RefsOf(
    absl::Span<const RecordPtr> records, absl::Span<const AdapterSelectionTerm> terms) {
  std::vector<AdapterRef> adapters;
  for (size_t i = 0; i < terms.size(); ++i) {
    const AdapterRecord& record = *records[i];
    adapters.push_back({record.name, record.version, record.adapter->digest, terms[i].weight});
  }
  SortCanonically(adapters);
  return adapters;
}

absl::StatusOr<std::vector<AdapterRef>> AdapterLifecycle::Impl::Resolve(
    absl::Span<const AdapterSelectionTerm> terms) const {
  absl::MutexLock lock(&mutex_);
  SHIRA_ASSIGN_OR_RETURN(const std::vector<RecordPtr> records, FindReady(terms));
  return RefsOf(records, terms);
}

absl::StatusOr<std::vector<AdapterRef>> AdapterLifecycle::Impl::ResolveDefault() const {
  absl::MutexLock lock(&mutex_);
  SHIRA_ASSIGN_OR_RETURN(const std::vector<RecordPtr> records, FindDefault());
  return RefsOf(records, default_terms_);
}

// ---- Pins ---------------------------------------------------------------------------------------

class AdapterLifecycle::Impl::HeldAdapters final : public StateSource {
 public:
  HeldAdapters(std::shared_ptr<Impl> registry, Wanted wanted)
      : registry_(std::move(registry)), wanted_(std::move(wanted)) {}
  ~HeldAdapters() override { registry_->UnpinRecords(wanted_.records); }

  absl::StatusOr<std::shared_ptr<const CompiledState>> Get(
      absl::FunctionRef<void()> on_memory) override {
    SHIRA_ASSIGN_OR_RETURN(std::shared_ptr<const CompiledState> state,
                           registry_->Supply(wanted_, on_memory));
    registry_->KeepIfDefault(wanted_, state);
    return state;
  }

 private:
  const std::shared_ptr<Impl> registry_;
  const Wanted wanted_;
};

absl::StatusOr<AdapterLifecycle::Impl::Pinned> AdapterLifecycle::Impl::Pin(
    absl::Span<const AdapterSelectionTerm> terms) {
  SHIRA_ASSIGN_OR_RETURN(Wanted wanted, PinNamed(terms));
  absl::Cleanup unpin = [&] { UnpinRecords(wanted.records); };
  SHIRA_ASSIGN_OR_RETURN(std::shared_ptr<const CompiledState> state, Supply(wanted, [] {}));
  std::move(unpin).Cancel();
  return Pinned{std::move(state), std::move(wanted.adapters), std::move(wanted.records)};
}

absl::StatusOr<AdapterLifecycle::Impl::Wanted> AdapterLifecycle::Impl::PinNamed(
    absl::Span<const AdapterSelectionTerm> terms) {
  Wanted wanted;
  wanted.terms.assign(terms.begin(), terms.end());
  std::vector<StateTerm> key_terms;
  absl::MutexLock lock(&mutex_);
  SHIRA_ASSIGN_OR_RETURN(wanted.records, FindReady(terms));
  for (size_t i = 0; i < terms.size(); ++i) {
    const AdapterRecord& record = *wanted.records[i];
    wanted.sources.push_back(record.source());
    wanted.entries += record.adapter->entries;
    key_terms.push_back({record.adapter->digest, terms[i].weight});
  }
  SHIRA_ASSIGN_OR_RETURN(wanted.key, StateKey::Create(std::move(key_terms)));
  wanted.adapters = RefsOf(wanted.records, terms);
  PinRecords(wanted.records);
  return wanted;
}

absl::StatusOr<std::shared_ptr<const CompiledState>> AdapterLifecycle::Impl::Supply(
    const Wanted& wanted, absl::FunctionRef<void()> on_memory) {
  const SteadyTime start = SteadyNow();
  bool compiled = false;
  bool read_files = false;
  const auto read = [&]() -> absl::StatusOr<std::vector<WeightedAdapterRef>> {
    compiled = true;
    std::vector<WeightedAdapterRef> adapters;
    for (size_t i = 0; i < wanted.terms.size(); ++i) {
      SHIRA_ASSIGN_OR_RETURN(DeltaSupplier::Supply supply, deltas_.Get(wanted.sources[i]));
      read_files |= supply.was_read;
      adapters.push_back({std::move(supply.deltas), wanted.terms[i].weight});
    }
    return adapters;
  };
  SHIRA_ASSIGN_OR_RETURN(std::shared_ptr<const CompiledState> state,
                         states_.Get(wanted.key, wanted.entries, on_memory, read));
  absl::MutexLock lock(&mutex_);
  if (read_files) {
    stats_.cold_starts.Add(SteadyNow() - start);
  } else if (compiled) {
    stats_.compilations.Add(SteadyNow() - start);
  } else if (!wanted.terms.empty()) {
    ++stats_.warm_uses;
  }
  return state;
}

void AdapterLifecycle::Impl::PinRecords(absl::Span<const RecordPtr> records) {
  for (const RecordPtr& record : records) {
    ++record->pins;
    record->last_use = absl::Now();
  }
}

void AdapterLifecycle::Impl::UnpinRecords(absl::Span<const RecordPtr> records) {
  absl::MutexLock lock(&mutex_);
  for (const RecordPtr& record : records) {
    --record->pins;
    record->last_use = absl::Now();
    if (record->retiring && record->pins == 0) Erase(record);
  }
}

StateHandle AdapterLifecycle::Impl::ToHandle(Pinned pinned) {
  std::function<void()> release;
  if (!pinned.records.empty()) {
    release = [self = shared_from_this(), records = std::move(pinned.records)] {
      self->UnpinRecords(records);
    };
  }
  return StateHandle(std::move(pinned.state), std::move(pinned.adapters), std::move(release));
}

absl::StatusOr<StateHandle> AdapterLifecycle::Impl::Acquire(
    absl::Span<const AdapterSelectionTerm> terms) {
  SHIRA_ASSIGN_OR_RETURN(Pinned pinned, Pin(terms));
  return ToHandle(std::move(pinned));
}

absl::StatusOr<StateHandle> AdapterLifecycle::Impl::Hold(
    absl::Span<const AdapterSelectionTerm> terms) {
  SHIRA_ASSIGN_OR_RETURN(Wanted wanted, PinNamed(terms));
  const StateKey key = wanted.key;
  std::vector<AdapterRef> adapters = wanted.adapters;
  const int64_t entries = wanted.entries;
  const auto source = std::make_shared<HeldAdapters>(shared_from_this(), std::move(wanted));
  // Or it would wait for memory that nobody can give back.
  SHIRA_RETURN_IF_ERROR(states_.CheckFits(entries));
  const std::shared_ptr<const CompiledState> known =
      key.is_base() ? engine_.base() : memory_.FindState(key);
  if (known != nullptr && !key.is_base()) {
    absl::MutexLock lock(&mutex_);
    ++stats_.warm_uses;
  }
  return StateHandle(key, known, std::move(adapters), source);
}

// ---- The default state --------------------------------------------------------------------------

absl::StatusOr<StateHandle> AdapterLifecycle::Impl::HoldDefault() {
  std::vector<AdapterSelectionTerm> terms;
  {
    absl::MutexLock lock(&mutex_);
    SHIRA_RETURN_IF_ERROR(FindDefault().status());
    terms = default_terms_;
  }
  return Hold(terms);
}

void AdapterLifecycle::Impl::KeepIfDefault(const Wanted& wanted,
                                          const std::shared_ptr<const CompiledState>& state) {
  Pinned previous;  // dropped after the lock is
  absl::MutexLock lock(&mutex_);
  const absl::StatusOr<std::vector<RecordPtr>> records = FindReady(default_terms_);
  if (default_terms_ != wanted.terms || !records.ok() || *records != wanted.records) return;
  previous = std::exchange(default_, {state, wanted.adapters, wanted.records});
}

absl::StatusOr<StateHandle> AdapterLifecycle::Impl::AcquireDefault() {
  std::vector<AdapterSelectionTerm> terms;
  Pinned pinned;
  {
    absl::MutexLock lock(&mutex_);
    terms = default_terms_;
    SHIRA_ASSIGN_OR_RETURN(const std::vector<RecordPtr> records, FindDefault());
    if (records == default_.records) {
      pinned = default_;
      PinRecords(pinned.records);
      if (!terms.empty()) ++stats_.warm_uses;
    }
  }
  if (pinned.state == nullptr) {
    SHIRA_ASSIGN_OR_RETURN(pinned, Pin(terms));
    absl::MutexLock lock(&mutex_);
    // Unless they mean something else by now: it would hold what has to go.
    const absl::StatusOr<std::vector<RecordPtr>> records = FindReady(default_terms_);
    if (default_terms_ == terms && records.ok() && *records == pinned.records) default_ = pinned;
  }
  return ToHandle(std::move(pinned));
}

absl::Status AdapterLifecycle::Impl::SetDefault(absl::Span<const AdapterSelectionTerm> terms) {
  SHIRA_ASSIGN_OR_RETURN(Pinned pinned, Pin(terms));
  const absl::Cleanup unpin = [this, records = pinned.records] { UnpinRecords(records); };
  Pinned previous;  // dropped after the lock is
  absl::MutexLock lock(&mutex_);
  for (const RecordPtr& record : pinned.records) {
    SHIRA_RETURN_IF_ERROR(ExpectReady(*record, record->name));
  }
  const std::vector<std::string> left = DefaultNames();
  previous = std::exchange(default_, std::move(pinned));
  default_terms_.assign(terms.begin(), terms.end());
  ++changes_;
  for (const std::string& name : left) RetireUnkept(name);
  return absl::OkStatus();
}

void AdapterLifecycle::Impl::RefreshDefault() {
  Pinned previous;  // dropped after the lock is
  absl::MutexLock lock(&mutex_);
  const absl::StatusOr<std::vector<RecordPtr>> records = FindReady(default_terms_);
  if (records.ok() && *records == default_.records) return;
  previous = std::exchange(default_, Pinned());
  if (default_terms_.empty()) default_.state = engine_.base();
}

bool AdapterLifecycle::Impl::IsDefault(const AdapterRecord& record) const {
  return std::any_of(default_terms_.begin(), default_terms_.end(),
                     [&](const AdapterSelectionTerm& term) {
                       const absl::StatusOr<RecordPtr> named = Find(term.name);
                       return named.ok() && named->get() == &record;
                     });
}

std::vector<std::string> AdapterLifecycle::Impl::DefaultNames() const {
  std::vector<std::string> names;
  for (const AdapterSelectionTerm& term : default_terms_) {
    if (const absl::StatusOr<RecordPtr> record = Find(term.name); record.ok()) {
      names.push_back((*record)->name);
    }
  }
  return names;
}

std::vector<AdapterRef> AdapterLifecycle::Impl::DefaultState() const {
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

}  // namespace shira
