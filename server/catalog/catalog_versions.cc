// Versions: the part of Catalog that adds and ends them, and saves them for a restart.

#include <algorithm>
#include <set>

#include "absl/time/clock.h"
#include "base/excerpt.h"
#include "base/status_macros.h"
#include "base/steady_wait.h"
#include "base/strings.h"
#include "server/catalog/catalog.h"

namespace shira {
namespace {

// Of what is kept about an adapter that could not be loaded.
constexpr size_t kMaxErrorBytes = 1500;

absl::Status IsBusy(const CatalogRecord& record) {
  return absl::AbortedError(StrCat("adapter '", record.name, "' is being ",
                                   record.is_loading ? "loaded" : "unloaded",
                                   " by another call: try again when that is over"));
}

}  // namespace

// ---- Loading ------------------------------------------------------------------------------------

absl::StatusOr<Catalog::LoadTurn> Catalog::BeginLoad(const std::string& name,
                                                     const std::string& path) {
  EndingLock lock(*this);
  if (aliases_.Find(name) != nullptr) {
    return absl::AlreadyExistsError(
        StrCat("'", name, "' is an alias: an adapter needs another name"));
  }
  const auto found = records_.find(name);
  LoadTurn turn;
  if (found != records_.end()) turn.newest = NewestOf(found->second);
  if (turn.newest != nullptr &&
      (turn.newest->is_loading || turn.newest->state == AdapterState::kUnloading)) {
    return IsBusy(*turn.newest);
  }
  if (turn.newest == nullptr) {
    int64_t count = RecordCount();
    while (count >= options_.max_adapters && EndRecentOf(/*owner=*/std::nullopt)) --count;
    if (count >= options_.max_adapters) {
      return absl::ResourceExhaustedError(
          StrCat("cannot load adapter '", name, "': there are ", count,
                 " adapters, the most that are allowed; unload some"));
    }
    turn.newest = std::make_shared<CatalogRecord>();
    turn.newest->name = name;
    records_[name][0] = turn.newest;
  } else if (turn.newest->state == AdapterState::kFailed && turn.newest->version == 0) {
    SHIRA_RETURN_IF_ERROR(turn.newest->MoveTo(AdapterState::kLoading));
    turn.newest->error.clear();
  }
  if (turn.newest->version == 0) turn.newest->origin.path = path;
  turn.newest->is_loading = true;
  return turn;
}

void Catalog::EndLoad(const LoadTurn& turn) {
  absl::MutexLock lock(&mutex_);
  turn.newest->is_loading = false;
}

absl::StatusOr<Catalog::Novelty> Catalog::NoveltyOf(const LoadTurn& turn,
                                                    const Sha256Digest& digest, bool replace,
                                                    std::string_view what) const {
  absl::MutexLock lock(&mutex_);
  const CatalogRecord& record = *turn.newest;
  const std::optional<Sha256Digest> loaded = record.digest();
  const bool is_ready = record.state == AdapterState::kReady;
  if (loaded == digest) return is_ready ? Novelty::kSame : Novelty::kRecovered;
  if (is_ready && !replace) {
    return absl::AlreadyExistsError(StrCat("adapter '", record.name, "' is loaded with SHA-256 ",
                                           loaded->Hex(), ", but ", what, " has ", digest.Hex(),
                                           ": unload it first, or ask to replace it"));
  }
  return Novelty::kNewVersion;
}

void Catalog::Fill(CatalogRecord& record, Content content) {
  record.summary = std::make_shared<const AdapterSummary>(std::move(content.summary));
  record.origin = std::move(content.origin);
  record.held.deltas = std::move(content.held.deltas);
  if (record.pinned) record.held.state = std::move(content.held.state);
  record.error.clear();
  record.saved.reset();
  record.load_time = absl::Now();
  record.load_duration = content.load_duration;
}

absl::StatusOr<Catalog::Published> Catalog::Publish(const LoadTurn& turn, Content content) {
  EndingLock lock(*this);
  const RecordPtr& newest = turn.newest;
  const bool is_first = newest->version == 0;
  const bool is_recovered = !is_first && newest->digest() == content.summary.digest;
  RecordPtr record = newest;
  if (!is_first && !is_recovered) {
    record = std::make_shared<CatalogRecord>();
    record->name = newest->name;
  } else if (is_recovered) {
    SHIRA_RETURN_IF_ERROR(record->MoveTo(AdapterState::kLoading));
  }
  SHIRA_RETURN_IF_ERROR(record->MoveTo(AdapterState::kReady));
  if (!is_recovered) {
    AdapterVersions& versions = records_[record->name];
    versions.erase(0);
    record->version = numbers_.Next(record->name);
    versions[record->version] = record;
  }
  ++changes_;
  std::optional<Sha256Digest> replaced;
  if (record != newest) {
    record->pinned = std::exchange(newest->pinned, false);
    newest->held.state = nullptr;  // `content` holds its own
    replaced = newest->digest();
  }
  Fill(*record, std::move(content));
  if (record != newest) RetireUnkept(newest->name);
  return Published{Describe(*record), replaced};
}

void Catalog::Fail(const LoadTurn& turn, const absl::Status& error) {
  absl::MutexLock lock(&mutex_);
  FailRecord(*turn.newest, error);
}

void Catalog::FailRecord(CatalogRecord& record, const absl::Status& error) {
  if (record.state == AdapterState::kReady) return;
  // Legal from kLoading; a record that was kFailed before stays so.
  record.state = AdapterState::kFailed;
  record.error = Excerpt(ToStd(error.message()), kMaxErrorBytes);
}

Catalog::Entry Catalog::EntryOf(const LoadTurn& turn) const {
  absl::MutexLock lock(&mutex_);
  return Describe(*turn.newest);
}

// ---- What keeps versions ------------------------------------------------------------------------

bool Catalog::IsWanted(const CatalogRecord& record) const {
  return record.pinned || aliases_.Mentions(record.id()) || IsDefault(record);
}

bool Catalog::EndRecent(FileOwner owner) {
  EndingLock lock(*this);
  return EndRecentOf(owner);
}

bool Catalog::EndRecentOf(std::optional<FileOwner> owner) {
  if (options_.keep_versions == 0) return false;
  RecordPtr oldest;
  const auto use_of = [](const CatalogRecord& record) {
    return std::max(record.last_use, record.load_time);
  };
  for (const auto& [name, versions] : records_) {
    for (const auto& [version, record] : versions) {
      const bool is_unused = record->state == AdapterState::kReady && record->users == 0;
      if (!is_unused || (owner.has_value() && record->origin.owner != *owner)) continue;
      if (!IsRecent(versions, *record, options_.keep_versions) || IsWanted(*record)) continue;
      if (oldest == nullptr || use_of(*record) < use_of(*oldest)) oldest = record;
    }
  }
  if (oldest == nullptr) return false;
  ++changes_;
  Erase(oldest);
  return true;
}

void Catalog::RetireUnkept(const std::string& name) {
  const auto found = records_.find(name);
  if (found == records_.end()) return;
  const AdapterVersions versions = found->second;  // a copy: erasing changes it
  const RecordPtr newest = NewestOf(versions);
  for (const auto& [version, record] : versions) {
    const bool is_in_service =
        record->state == AdapterState::kReady || record->state == AdapterState::kFailed;
    if (record == newest || !is_in_service || IsWanted(*record)) continue;
    const auto now = records_.find(name);
    if (now != records_.end() && IsRecent(now->second, *record, options_.keep_versions)) continue;
    ++changes_;
    if (record->state == AdapterState::kReady) {
      record->state = AdapterState::kUnloading;
      record->retiring = true;
    }
    if (record->users == 0) Erase(record);
  }
}

void Catalog::Erase(const RecordPtr& record) {
  const auto found = records_.find(record->name);
  if (found == records_.end()) return;
  const auto version = found->second.find(record->version);
  if (version == found->second.end() || version->second != record) return;
  found->second.erase(version);
  if (found->second.empty()) {
    records_.erase(found);
    numbers_.Gone(record->name);
  }
  aliases_.Forget(record->id());
  std::optional<Sha256Digest> content = record->digest();
  if (content.has_value() && HasContentLocked(*content)) content.reset();
  ended_.push_back(
      {record->id(), content, record->origin, std::exchange(record->held, {}), changes_});
}

bool Catalog::HasContent(const Sha256Digest& digest) const {
  absl::MutexLock lock(&mutex_);
  return HasContentLocked(digest);
}

bool Catalog::HasContentLocked(const Sha256Digest& digest) const {
  for (const auto& [name, versions] : records_) {
    for (const auto& [version, record] : versions) {
      if (record->summary != nullptr && record->summary->digest == digest) return true;
    }
  }
  return false;
}

// ---- Unloading ----------------------------------------------------------------------------------

absl::Status Catalog::ExpectUnloadable(const CatalogRecord& record) const {
  const bool is_unloading = record.state == AdapterState::kUnloading && !record.retiring;
  if (record.is_loading || is_unloading) return IsBusy(record);
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

absl::StatusOr<Catalog::Unloading> Catalog::BeginUnload(const std::string& name) {
  Unloading unloading;
  absl::MutexLock lock(&mutex_);
  const auto all = records_.find(name);
  if (all != records_.end()) {
    for (const auto& [version, record] : all->second) unloading.records_.push_back(record);
  } else {
    SHIRA_ASSIGN_OR_RETURN(RecordPtr record, Find(name));
    unloading.records_.push_back(std::move(record));
  }
  for (const RecordPtr& record : unloading.records_) {
    SHIRA_RETURN_IF_ERROR(ExpectUnloadable(*record));
  }
  for (const RecordPtr& record : unloading.records_) {
    if (record->state == AdapterState::kReady) {
      SHIRA_RETURN_IF_ERROR(record->MoveTo(AdapterState::kUnloading));
      unloading.stopped_.push_back(record);
    }
    if (record->summary != nullptr) unloading.entries_.push_back(Describe(*record));
  }
  return unloading;
}

bool Catalog::AwaitAndEnd(const Unloading& unloading, SteadyTime deadline) {
  EndingLock lock(*this);
  const auto unused = [&] {
    return std::all_of(unloading.records_.begin(), unloading.records_.end(),
                       [](const RecordPtr& record) { return record->users == 0; });
  };
  if (!AwaitUntil(mutex_, absl::Condition(&unused), deadline)) return false;
  ++changes_;
  for (const RecordPtr& record : unloading.records_) Erase(record);
  return true;
}

int64_t Catalog::GiveUp(const Unloading& unloading) {
  EndingLock lock(*this);
  int64_t users = 0;
  for (const RecordPtr& record : unloading.records_) users += record->users;
  for (const RecordPtr& record : unloading.stopped_) record->state = AdapterState::kReady;
  // What kept one may be gone meanwhile.
  for (const RecordPtr& record : unloading.stopped_) RetireUnkept(record->name);
  return users;
}

// ---- Pins in memory -----------------------------------------------------------------------------

absl::StatusOr<Catalog::Entry> Catalog::Pin(const Uses& uses, std::string_view name,
                                            std::shared_ptr<const CompiledState> state) {
  absl::MutexLock lock(&mutex_);
  const RecordPtr& record = uses.records_.front();
  SHIRA_RETURN_IF_ERROR(ExpectReady(*record, name));
  record->pinned = true;
  std::swap(record->held.state, state);  // the one before is dropped after the lock is
  ++changes_;
  return Describe(*record);
}

absl::StatusOr<Catalog::Entry> Catalog::Unpin(std::string_view name) {
  std::shared_ptr<const CompiledState> state;  // dropped after the lock is
  EndingLock lock(*this);
  SHIRA_ASSIGN_OR_RETURN(const RecordPtr record, Find(name));
  record->pinned = false;
  state = std::move(record->held.state);
  Entry entry = Describe(*record);
  ++changes_;
  RetireUnkept(record->name);
  return entry;
}

// ---- What survives a restart --------------------------------------------------------------------

int64_t Catalog::changes() const {
  absl::MutexLock lock(&mutex_);
  return changes_;
}

std::optional<std::pair<int64_t, CatalogSnapshot>> Catalog::SnapshotAfter(
    int64_t known_change) const {
  absl::MutexLock lock(&mutex_);
  if (changes_ == known_change) return std::nullopt;
  return std::pair(changes_, Snapshot());
}

CatalogSnapshot Catalog::Snapshot() const {
  CatalogSnapshot snapshot;
  snapshot.versions = numbers_.Save();
  for (const auto& [name, versions] : records_) {
    for (const auto& [version, record] : versions) {
      if (record->saved.has_value()) {  // it may be there again at the next start
        snapshot.adapters.push_back(*record->saved);
        snapshot.adapters.back().pinned = record->pinned;
      } else if (record->summary != nullptr && !record->retiring &&
                 !record->origin.source.empty()) {
        snapshot.adapters.push_back({name, version, record->summary->digest,
                                     record->summary->format, record->origin.path,
                                     record->origin.source, record->origin.source_digest,
                                     record->origin.owner, record->pinned});
      }
    }
  }
  snapshot.aliases = aliases_.List();
  snapshot.default_state = default_terms_;
  return snapshot;
}

void Catalog::Restore(const CatalogSnapshot& saved) {
  absl::MutexLock lock(&mutex_);
  numbers_.Restore(saved.versions);
  for (const CatalogSnapshot::Adapter& adapter : saved.adapters) numbers_.Keep(adapter.name);
  for (const AliasInfo& alias : saved.aliases) aliases_.Restore(alias);
  default_terms_ = saved.default_state;
  for (const CatalogSnapshot::Adapter& adapter : saved.adapters) {
    auto record = std::make_shared<CatalogRecord>();
    record->name = adapter.name;
    record->version = adapter.version;
    record->pinned = adapter.pinned;
    record->origin = {adapter.path, adapter.source, adapter.source_digest, adapter.owner};
    record->saved = adapter;
    records_[adapter.name][adapter.version] = std::move(record);
  }
}

RecordPtr Catalog::FindVersion(const AdapterVersion& version) const {
  const auto found = records_.find(version.name);
  if (found == records_.end()) return nullptr;
  const auto place = found->second.find(version.version);
  return place == found->second.end() ? nullptr : place->second;
}

absl::Status Catalog::FinishRestored(const AdapterVersion& version, Content content) {
  absl::MutexLock lock(&mutex_);
  const RecordPtr record = FindVersion(version);
  if (record == nullptr) {
    return absl::NotFoundError(StrCat("no adapter '", version.ToString(), "' is being restored"));
  }
  SHIRA_RETURN_IF_ERROR(record->MoveTo(AdapterState::kReady));
  Fill(*record, std::move(content));
  return absl::OkStatus();
}

void Catalog::FailRestored(const AdapterVersion& version, const absl::Status& error) {
  absl::MutexLock lock(&mutex_);
  if (const RecordPtr record = FindVersion(version)) FailRecord(*record, error);
}

void Catalog::EndRestore() {
  EndingLock lock(*this);
  std::set<std::string> names;
  for (const auto& [name, versions] : records_) names.insert(name);
  for (const std::string& name : names) RetireUnkept(name);
}

}  // namespace shira
