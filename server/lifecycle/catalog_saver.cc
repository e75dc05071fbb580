#include "server/lifecycle/catalog_saver.h"

#include <optional>

namespace shira {

void CatalogSaver::Save() {
  if (store_ != nullptr) {
    absl::MutexLock saving(&saving_mutex_);
    if (const auto snapshot = catalog_.SnapshotAfter(saved_change_)) {
      const auto& [change, content] = *snapshot;
      if (const absl::Status status = store_->Write(content); !status.ok()) {
        on_error_(status);
        return;
      }
      saved_change_ = change;
      removal_.OnSaved(change);
    }
  }
  removal_.RemoveNow();
}

int64_t CatalogSaver::unsaved_changes() const {
  return store_ == nullptr ? 0 : catalog_.changes() - saved_change_;
}

}  // namespace shira
