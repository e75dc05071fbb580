// File: server/lifecycle/catalog_saver.h
//
// Keeps the state file what the catalog is.

#ifndef SHIRA_SERVER_LIFECYCLE_CATALOG_SAVER_H_
#define SHIRA_SERVER_LIFECYCLE_CATALOG_SAVER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "server/catalog/catalog.h"
#include "server/lifecycle/file_removal.h"
#include "server/lifecycle/state_store.h"

namespace shira {

// Thread-safe.
class CatalogSaver {
 public:
  // `store`: nullptr if nothing is to survive a restart. All must outlive this object. `on_error` is
  // called when the file could not be written; it is written with the next Save() then.
  CatalogSaver(const Catalog& catalog, const StateStore* store, FileRemoval& removal,
               std::function<void(const absl::Status&)> on_error)
      : catalog_(catalog), store_(store), removal_(removal), on_error_(std::move(on_error)) {}

  // Saves what has changed, or waits for the thread that is saving it, and deletes the files of
  // what is gone. Called before any call reports a change, its own or another's.
  void Save() ABSL_LOCKS_EXCLUDED(saving_mutex_);

  // The state file could not be written since this many changes.
  int64_t unsaved_changes() const;

 private:
  const Catalog& catalog_;
  const StateStore* const store_;
  FileRemoval& removal_;
  const std::function<void(const absl::Status&)> on_error_;

  // Held while the state file is written, so that no older snapshot comes after a newer one. The
  // catalog's lock comes after it.
  absl::Mutex saving_mutex_;
  std::atomic<int64_t> saved_change_ = 0;  // written under saving_mutex_
};

}  // namespace shira

#endif  // SHIRA_SERVER_LIFECYCLE_CATALOG_SAVER_H_
