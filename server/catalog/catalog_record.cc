#include "server/catalog/catalog_record.h"

#include "base/strings.h"

namespace shira {

std::optional<Sha256Digest> CatalogRecord::digest() const {
  if (summary != nullptr) return summary->digest;
  if (saved.has_value()) return saved->digest;
  return std::nullopt;
}

absl::Status CatalogRecord::MoveTo(AdapterState to) {
  if (!IsLegalTransition(state, to)) {
    return absl::FailedPreconditionError(StrCat("adapter '", name, "' is ", AdapterStateName(state),
                                                " and cannot become ", AdapterStateName(to)));
  }
  state = to;
  return absl::OkStatus();
}

RecordPtr NewestOf(const AdapterVersions& versions) {
  RecordPtr unloading;
  for (auto it = versions.rbegin(); it != versions.rend(); ++it) {
    const RecordPtr& record = it->second;
    if (record->state != AdapterState::kUnloading) return record;
    if (unloading == nullptr && !record->retiring) unloading = record;
  }
  return unloading;
}

bool IsRecent(const AdapterVersions& versions, const CatalogRecord& record, int64_t keep_versions) {
  if (keep_versions == 0 || record.origin.owner == FileOwner::kUser) return false;
  const RecordPtr newest = NewestOf(versions);
  if (newest == nullptr || newest->version <= record.version) return false;
  int64_t between = 0;
  for (const auto& [version, other] : versions) {
    between += version > record.version && other != newest &&
               other->state != AdapterState::kUnloading && other->origin.owner != FileOwner::kUser;
  }
  return between < keep_versions;
}

}  // namespace shira
