#include "server/lifecycle/adapter_sources.h"

#include "base/status_macros.h"

namespace shira {

absl::StatusOr<std::string> AdapterSources::Resolve(const std::string& path,
                                                    bool by_operator) const {
  return (by_operator ? paths_.operators : paths_.client).Resolve(path);
}

absl::StatusOr<std::string> AdapterSources::ResolveNew(const std::string& path) const {
  return paths_.client.ResolveNew(path);
}

absl::StatusOr<std::shared_ptr<const SparseAdapter>> AdapterSources::Read(const std::string& path) {
  const LoadSlots::Slot slot(slots_);
  return read_(reader_, path);
}

absl::StatusOr<std::shared_ptr<const SparseAdapter>> AdapterSources::ReadAgain(
    const std::string& path) {
  SHIRA_ASSIGN_OR_RETURN(const std::string resolved, paths_.all.Resolve(path));
  return Read(resolved);
}

}  // namespace shira
