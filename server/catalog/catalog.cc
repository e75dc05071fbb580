#include "server/catalog/catalog.h"

#include <algorithm>
#include <cmath>

#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/catalog/adapter_name.h"

namespace shira {
namespace {

void SortCanonically(std::vector<AdapterRef>& adapters) {
  std::sort(adapters.begin(), adapters.end(),
            [](const AdapterRef& a, const AdapterRef& b) { return a.digest < b.digest; });
}

// What records were asked for by `terms`, in the state's canonical order.
std::vector<AdapterRef> RefsOf(absl::Span<const RecordPtr> records,
                               absl::Span<const AdapterSelectionTerm> terms) {
  std::vector<AdapterRef> adapters;
  for (size_t i = 0; i < terms.size(); ++i) {
    const CatalogRecord& record = *records[i];
    adapters.push_back({record.name, record.version, record.summary->digest, terms[i].weight});
  }
  SortCanonically(adapters);
  return adapters;
}

}  // namespace

Catalog::EndingLock::EndingLock(Catalog& catalog) : catalog_(catalog) { catalog_.mutex_.Lock(); }

Catalog::EndingLock::~EndingLock() {
  std::vector<Ended> ended = std::move(catalog_.ended_);
  catalog_.ended_.clear();
  catalog_.mutex_.Unlock();
  for (Ended& version : ended) catalog_.options_.on_end(std::move(version));
}

// ---- Names --------------------------------------------------------------------------------------

absl::StatusOr<RecordPtr> Catalog::Find(std::string_view name) const {
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

absl::Status Catalog::ExpectReady(const CatalogRecord& record, std::string_view name) {
  if (record.state == AdapterState::kReady) return absl::OkStatus();
  return absl::FailedPreconditionError(StrCat("adapter '", name, "' is ",
                                              AdapterStateName(record.state),
                                              record.error.empty() ? "" : ": ", record.error));
}

absl::StatusOr<std::vector<RecordPtr>> Catalog::FindReady(
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
      if (other->summary->digest == record->summary->digest) {
        return absl::InvalidArgumentError(StrCat("adapters '", other->name, "' and '", term.name,
                                                 "' have the same content: name one of them"));
      }
    }
    records.push_back(std::move(record));
  }
  return records;
}

absl::StatusOr<std::vector<RecordPtr>> Catalog::FindDefault() const {
  absl::StatusOr<std::vector<RecordPtr>> records = FindReady(default_terms_);
  if (records.ok()) return records;
  return absl::Status(records.status().code(),
                      StrCat("the default state: ", ToStd(records.status().message()),
                             ": load it, or apply another state"));
}

absl::StatusOr<std::vector<AdapterRef>> Catalog::Resolve(
    absl::Span<const AdapterSelectionTerm> terms) const {
  absl::MutexLock lock(&mutex_);
  SHIRA_ASSIGN_OR_RETURN(const std::vector<RecordPtr> records, FindReady(terms));
  return RefsOf(records, terms);
}

void Catalog::FindNames(std::vector<AdapterRef>& contents) const {
  absl::MutexLock lock(&mutex_);
  for (AdapterRef& ref : contents) {
    ref.name.clear();
    ref.version = 0;
    for (const auto& [name, versions] : records_) {
      for (const auto& [version, record] : versions) {
        if (record->summary == nullptr || record->summary->digest != ref.digest) continue;
        if (ref.name.empty() || ref.name == name) {
          ref.name = name;
          ref.version = version;
        }
      }
    }
  }
}

// ---- Views --------------------------------------------------------------------------------------

Catalog::Entry Catalog::Describe(const CatalogRecord& record) const {
  Entry entry;
  entry.info.name = record.name;
  entry.info.version = record.version;
  entry.info.state = record.state;
  entry.info.path = record.origin.path;
  entry.info.error = record.error;
  entry.info.pinned = record.pinned;
  entry.info.aliases = aliases_.NamesOf(record.id());
  entry.info.adapter = record.summary;
  entry.info.running_requests = record.users;
  entry.info.load_time = record.load_time;
  entry.info.load_duration = record.load_duration;
  entry.info.last_use = record.last_use;
  entry.held = record.held.deltas;
  return entry;
}

std::optional<Catalog::Entry> Catalog::Get(std::string_view name) const {
  absl::MutexLock lock(&mutex_);
  const absl::StatusOr<RecordPtr> record = Find(name);
  if (!record.ok()) return std::nullopt;
  return Describe(**record);
}

std::vector<Catalog::Entry> Catalog::List() const {
  absl::MutexLock lock(&mutex_);
  std::vector<Entry> entries;
  entries.reserve(records_.size());
  for (const auto& [name, versions] : records_) {
    for (const auto& [version, record] : versions) entries.push_back(Describe(*record));
  }
  return entries;
}

int64_t Catalog::RecordCount() const {
  int64_t count = 0;
  for (const auto& [name, versions] : records_) count += static_cast<int64_t>(versions.size());
  return count;
}

// ---- Uses ---------------------------------------------------------------------------------------

Catalog::Uses& Catalog::Uses::operator=(Uses&& other) noexcept {
  std::swap(catalog_, other.catalog_);
  std::swap(counts_, other.counts_);
  std::swap(records_, other.records_);
  std::swap(versions_, other.versions_);
  std::swap(adapters_, other.adapters_);
  return *this;
}

Catalog::Uses::~Uses() {
  versions_.clear();  // held tables are freed with their version
  if (!records_.empty()) catalog_->Release(*this);
}

int64_t Catalog::Uses::entries() const {
  int64_t entries = 0;
  for (const Version& version : versions_) entries += version.summary->entries;
  return entries;
}

Catalog::Uses Catalog::UsesOf(std::vector<RecordPtr> records,
                              absl::Span<const AdapterSelectionTerm> terms, bool counts) {
  Uses uses;
  uses.catalog_ = this;
  uses.counts_ = counts;
  uses.adapters_ = RefsOf(records, terms);
  for (size_t i = 0; i < records.size(); ++i) {
    CatalogRecord& record = *records[i];
    uses.versions_.push_back(
        {record.id(), record.summary, record.origin, record.held.deltas, terms[i].weight});
    ++record.users;
    if (counts) record.last_use = absl::Now();
  }
  uses.records_ = std::move(records);
  return uses;
}

absl::StatusOr<Catalog::Uses> Catalog::Use(absl::Span<const AdapterSelectionTerm> terms) {
  absl::MutexLock lock(&mutex_);
  SHIRA_ASSIGN_OR_RETURN(std::vector<RecordPtr> records, FindReady(terms));
  return UsesOf(std::move(records), terms, /*counts=*/true);
}

absl::StatusOr<Catalog::Uses> Catalog::UseDefault() {
  absl::MutexLock lock(&mutex_);
  SHIRA_ASSIGN_OR_RETURN(std::vector<RecordPtr> records, FindDefault());
  return UsesOf(std::move(records), default_terms_, /*counts=*/true);
}

absl::StatusOr<Catalog::Uses> Catalog::LookAt(std::string_view name) {
  const std::vector<AdapterSelectionTerm> terms = {{std::string(name), 1.0}};
  absl::MutexLock lock(&mutex_);
  SHIRA_ASSIGN_OR_RETURN(std::vector<RecordPtr> records, FindReady(terms));
  return UsesOf(std::move(records), terms, /*counts=*/false);
}

void Catalog::Release(const Uses& uses) {
  EndingLock lock(*this);
  for (const RecordPtr& record : uses.records_) {
    --record->users;
    if (uses.counts_) record->last_use = absl::Now();
    if (record->retiring && record->users == 0) Erase(record);
  }
}

// ---- The default state --------------------------------------------------------------------------

absl::Status Catalog::SetDefault(absl::Span<const AdapterSelectionTerm> terms, const Uses& uses) {
  EndingLock lock(*this);
  for (const RecordPtr& record : uses.records_) {
    SHIRA_RETURN_IF_ERROR(ExpectReady(*record, record->name));
  }
  std::vector<std::string> left;
  for (const AdapterSelectionTerm& term : default_terms_) {
    if (const absl::StatusOr<RecordPtr> record = Find(term.name); record.ok()) {
      left.push_back((*record)->name);
    }
  }
  default_terms_.assign(terms.begin(), terms.end());
  ++changes_;
  for (const std::string& name : left) RetireUnkept(name);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<AdapterRef>> Catalog::ResolveDefault() const {
  absl::MutexLock lock(&mutex_);
  SHIRA_ASSIGN_OR_RETURN(const std::vector<RecordPtr> records, FindDefault());
  return RefsOf(records, default_terms_);
}

std::vector<AdapterRef> Catalog::DefaultState() const {
  absl::MutexLock lock(&mutex_);
  std::vector<AdapterRef> adapters;
  for (const AdapterSelectionTerm& term : default_terms_) {
    AdapterRef& ref = adapters.emplace_back();
    ref.name = term.name;
    ref.weight = term.weight;
    const absl::StatusOr<RecordPtr> record = Find(term.name);
    if (!record.ok() || (*record)->state != AdapterState::kReady) continue;
    ref = {(*record)->name, (*record)->version, (*record)->summary->digest, term.weight};
  }
  SortCanonically(adapters);
  return adapters;
}

bool Catalog::IsDefault(const CatalogRecord& record) const {
  return std::any_of(default_terms_.begin(), default_terms_.end(),
                     [&](const AdapterSelectionTerm& term) {
                       mutex_.AssertHeld();
                       const absl::StatusOr<RecordPtr> named = Find(term.name);
                       return named.ok() && named->get() == &record;
                     });
}

// ---- For tests ----------------------------------------------------------------------------------

std::vector<std::string> Catalog::Violations() const {
  absl::MutexLock lock(&mutex_);
  std::vector<std::string> violations;
  for (const auto& [name, versions] : records_) {
    if (versions.empty()) violations.push_back(StrCat(name, ": a name without any version"));
    if (aliases_.Find(name) != nullptr) violations.push_back(StrCat(name, ": also an alias"));
    const RecordPtr newest = NewestOf(versions);
    for (const auto& [version, record] : versions) {
      const auto expect = [&, where = record->id().ToString()](bool holds, std::string_view what) {
        if (!holds) violations.push_back(StrCat(where, ": ", what));
      };
      const bool is_ready = record->state == AdapterState::kReady;
      const bool is_unloading = record->state == AdapterState::kUnloading;
      expect(record->name == name && record->version == version, "another record's place");
      expect((record->summary != nullptr) == (is_ready || is_unloading),
             "content and state differ");
      expect(record->users >= 0, "fewer users than none");
      expect(record->users == 0 || record->summary != nullptr, "users without content");
      expect(version > 0 || versions.size() == 1, "version 0 beside others");
      expect(!record->retiring || (is_unloading && record->users > 0), "retiring without users");
      expect(record->held.state == nullptr || record->pinned, "a state held without a pin");
      expect(record->summary == nullptr || !record->origin.source.empty() ||
                 record->held.deltas != nullptr,
             "deltas that are nowhere");
      expect(!is_ready || record == newest || IsWanted(*record) ||
                 IsRecent(versions, *record, options_.keep_versions),
             "kept for nothing");
    }
  }
  for (const AliasInfo& alias : aliases_.List()) {
    if (FindVersion(alias.target) == nullptr) {
      violations.push_back(StrCat(alias.name, ": its target is gone"));
    }
  }
  return violations;
}

}  // namespace shira
