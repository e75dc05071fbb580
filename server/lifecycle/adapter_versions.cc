#include <algorithm>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "base/status_macros.h"
#include "base/steady_wait.h"
#include "base/strings.h"
#include "server/lifecycle/adapter_lifecycle_impl.h"

namespace shira {
namespace {

// How often a waiting unload asks whether its caller is still there.
constexpr absl::Duration kCancellationInterval = absl::Milliseconds(50);

}  // namespace

// ---- Versions -----------------------------------------------------------------------------------

bool AdapterLifecycle::Impl::IsWanted(const AdapterRecord& record) const {
  return record.pinned || aliases_.Mentions(record.id()) || IsDefault(record);
}

bool AdapterLifecycle::Impl::IsRecent(const AdapterRecord& record) const {
  if (options_.keep_versions == 0 || record.backing.owner == FileOwner::kUser) return false;
  const auto found = records_.find(record.name);
  const RecordPtr newest = NewestOf(found->second);
  if (newest == nullptr || newest->version <= record.version) return false;
  int64_t between = 0;
  for (const auto& [version, other] : found->second) {
    between += version > record.version && other != newest &&
               other->state != AdapterState::kUnloading && other->backing.owner != FileOwner::kUser;
  }
  return between < options_.keep_versions;
}

bool AdapterLifecycle::Impl::EndRecent(std::optional<FileOwner> owner) {
  if (options_.keep_versions == 0) return false;
  RecordPtr oldest;
  const auto use_of = [](const AdapterRecord& record) {
    return std::max(record.last_use, record.load_time);
  };
  for (const auto& [name, versions] : records_) {
    for (const auto& [version, record] : versions) {
      const bool is_unused = record->state == AdapterState::kReady && record->pins == 0;
      if (!is_unused || (owner.has_value() && record->backing.owner != *owner)) continue;
      if (!IsRecent(*record) || IsWanted(*record)) continue;
      if (oldest == nullptr || use_of(*record) < use_of(*oldest)) oldest = record;
    }
  }
  if (oldest == nullptr) return false;
  ++changes_;
  Erase(oldest);
  return true;
}

void AdapterLifecycle::Impl::RetireUnkept(const std::string& name) {
  const auto found = records_.find(name);
  if (found == records_.end()) return;
  const AdapterVersions versions = found->second;  // a copy: erasing changes it
  const RecordPtr newest = NewestOf(versions);
  for (const auto& [version, record] : versions) {
    const bool is_in_service =
        record->state == AdapterState::kReady || record->state == AdapterState::kFailed;
    if (record == newest || !is_in_service || IsWanted(*record) || IsRecent(*record)) {
      continue;
    }
    ++changes_;
    if (record->state == AdapterState::kReady) {
      record->state = AdapterState::kUnloading;
      record->retiring = true;
    }
    if (record->pins == 0) Erase(record);
  }
}

void AdapterLifecycle::Impl::Erase(const RecordPtr& record) {
  const auto found = records_.find(record->name);
  if (found == records_.end()) return;
  const auto version = found->second.find(record->version);
  if (version == found->second.end() || version->second != record) return;
  found->second.erase(version);
  if (found->second.empty()) {
    records_.erase(found);
    versions_.Gone(record->name);
  }
  aliases_.Forget(record->id());
  record->pinned_state = nullptr;
  record->backing.held = nullptr;
  if (const std::optional<Sha256Digest> digest = record->digest()) DropUnlessLoaded(*digest);
  if (record->backing.owner != FileOwner::kUser) {
    garbage_.push_back({changes_, record->backing.owner, record->backing.source});
  }
  ++stats_.unloads;
}

void AdapterLifecycle::Impl::DropUnlessLoaded(const Sha256Digest& digest) {
  for (const auto& [name, versions] : records_) {
    for (const auto& [version, record] : versions) {
      if (record->adapter != nullptr && record->adapter->digest == digest) return;
    }
  }
  memory_.Drop(digest);
  departures_.Add(digest);
}

int64_t AdapterLifecycle::Impl::RecordCount() const {
  int64_t count = 0;
  for (const auto& [name, versions] : records_) count += static_cast<int64_t>(versions.size());
  return count;
}

// ---- Unloading ----------------------------------------------------------------------------------

absl::Status AdapterLifecycle::Impl::ExpectUnloadable(const AdapterRecord& record) const {
  const bool is_unloading = record.state == AdapterState::kUnloading && !record.retiring;
  if (record.job != nullptr || is_unloading) {
    return absl::AbortedError(StrCat("adapter '", record.name, "' is being ",
                                     record.job != nullptr ? "loaded" : "unloaded",
                                     " by another call: try again when that is over"));
  }
  if (const std::vector<std::string> names = aliases_.NamesOf(record.id()); !names.empty()) {
    return absl::FailedPreconditionError(StrCat("alias '", names.front(), "' names ",
                                                record.id().ToString(),
                                                ": move or delete the alias first"));
  }
  if (IsDefault(record)) {
    return absl::FailedPreconditionError(StrCat("adapter '", record.name,
                                                "' is part of the default state: revert to the "
                                                "base first"));
  }
  return absl::OkStatus();
}

absl::StatusOr<AdapterLifecycle::Impl::Unloading> AdapterLifecycle::Impl::BeginUnload(
    const std::string& name) {
  const std::shared_ptr<const CompiledState> resident = engine_.resident();
  Unloading unloading;
  absl::MutexLock lock(&mutex_);
  const auto all = records_.find(name);
  if (all != records_.end()) {
    for (const auto& [version, record] : all->second) unloading.records.push_back(record);
  } else {
    SHIRA_ASSIGN_OR_RETURN(RecordPtr record, Find(name));
    unloading.records.push_back(std::move(record));
  }
  for (const RecordPtr& record : unloading.records) {
    SHIRA_RETURN_IF_ERROR(ExpectUnloadable(*record));
  }
  for (const RecordPtr& record : unloading.records) {
    if (record->state == AdapterState::kReady) {
      SHIRA_RETURN_IF_ERROR(record->MoveTo(AdapterState::kUnloading));
      unloading.stopped.push_back(record);
    }
    if (record->adapter != nullptr) {
      unloading.infos.push_back(Describe(*record, resident->key));
    }
  }
  return unloading;
}

int64_t AdapterLifecycle::Impl::GiveUpUnload(const Unloading& unloading) {
  int64_t pins = 0;
  for (const RecordPtr& record : unloading.records) pins += record->pins;
  for (const RecordPtr& record : unloading.stopped) record->state = AdapterState::kReady;
  // What kept one may be gone meanwhile.
  for (const RecordPtr& record : unloading.stopped) RetireUnkept(record->name);
  return pins;
}

absl::Status AdapterLifecycle::Impl::Unload(const std::string& name, SteadyTime deadline,
                                           absl::FunctionRef<void(const AdapterInfo&)> on_unloading,
                                           absl::FunctionRef<bool()> is_cancelled) {
  SHIRA_ASSIGN_OR_RETURN(const Unloading unloading, BeginUnload(name));
  for (const AdapterInfo& info : unloading.infos) on_unloading(info);
  for (bool is_unused = false; !is_unused;) {
    const bool cancelled = is_cancelled();
    const SteadyTime now = SteadyNow();
    absl::MutexLock lock(&mutex_);
    const auto unused = [&] {
      return std::all_of(unloading.records.begin(), unloading.records.end(),
                         [](const RecordPtr& record) { return record->pins == 0; });
    };
    is_unused = AwaitUntil(mutex_, absl::Condition(&unused),
                           cancelled ? now : std::min(deadline, now + kCancellationInterval));
    if (is_unused) {
      ++changes_;
      for (const RecordPtr& record : unloading.records) Erase(record);
    } else if (cancelled) {
      GiveUpUnload(unloading);
      return absl::CancelledError(
          StrCat("the caller did not wait for the requests that use adapter '", name,
                 "'; it stays loaded"));
    } else if (SteadyNow() >= deadline) {
      return absl::DeadlineExceededError(
          StrCat("adapter '", name, "' is still used by ", GiveUpUnload(unloading),
                 " requests; it stays loaded: try again, or cancel them"));
    }
  }
  departures_.Await(deadline);
  return absl::OkStatus();
}

// ---- Pins in memory -----------------------------------------------------------------------------

absl::StatusOr<AdapterInfo> AdapterLifecycle::Impl::PinInMemory(std::string_view name) {
  SHIRA_ASSIGN_OR_RETURN(Pinned pinned, Pin({AdapterSelectionTerm{std::string(name), 1.0}}));
  const RecordPtr record = pinned.records.front();
  const absl::Cleanup unpin = [&] { UnpinRecords(pinned.records); };
  const std::shared_ptr<const CompiledState> resident = engine_.resident();
  absl::MutexLock lock(&mutex_);
  SHIRA_RETURN_IF_ERROR(ExpectReady(*record, name));
  record->pinned = true;
  record->pinned_state = pinned.state;
  ++changes_;
  return Describe(*record, resident->key);
}

absl::StatusOr<AdapterInfo> AdapterLifecycle::Impl::Unpin(std::string_view name) {
  const std::shared_ptr<const CompiledState> resident = engine_.resident();
  std::shared_ptr<const CompiledState> state;  // dropped after the lock is
  absl::MutexLock lock(&mutex_);
  SHIRA_ASSIGN_OR_RETURN(const RecordPtr record, Find(name));
  record->pinned = false;
  state = std::move(record->pinned_state);
  AdapterInfo info = Describe(*record, resident->key);
  ++changes_;
  RetireUnkept(record->name);
  return info;
}

}  // namespace shira
