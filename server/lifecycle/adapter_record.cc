#include "server/lifecycle/adapter_record.h"

#include "base/strings.h"

namespace shira {

std::optional<Sha256Digest> AdapterRecord::digest() const {
  if (adapter != nullptr) return adapter->digest;
  if (saved.has_value()) return saved->digest;
  return std::nullopt;
}

DeltaSource AdapterRecord::source() const {
  return {name, adapter->digest, backing.source, backing.source_digest, backing.held};
}

absl::Status AdapterRecord::MoveTo(AdapterState to) {
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

}  // namespace shira
