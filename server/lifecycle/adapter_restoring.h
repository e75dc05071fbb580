// File: server/lifecycle/adapter_restoring.h
//
// What the state file says, loaded again at the start, and what a killed server left over, removed.

#ifndef SHIRA_SERVER_LIFECYCLE_ADAPTER_RESTORING_H_
#define SHIRA_SERVER_LIFECYCLE_ADAPTER_RESTORING_H_

#include <memory>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/sparse_adapter.h"
#include "server/catalog/catalog.h"
#include "server/catalog/catalog_snapshot.h"
#include "server/lifecycle/adapter_sources.h"
#include "server/lifecycle/lifecycle_stats.h"
#include "server/lifecycle/lifecycle_types.h"
#include "server/lifecycle/state_store.h"
#include "server/lifecycle/upload_store.h"
#include "server/residency/adapter_memory.h"
#include "server/residency/served_states.h"

namespace shira {

class AdapterRestoring {
 public:
  // All of them must outlive this object; `store` and `uploads` may be nullptr.
  struct Parts {
    Catalog& catalog;
    AdapterSources& sources;
    AdapterMemory& memory;
    ServedStates& states;
    const StateStore* store;
    UploadStore* uploads;
    LoadBook& book;
    int threads;
  };
  explicit AdapterRestoring(Parts parts) : parts_(parts) {}

  // AdapterLifecycle::Restore(), but for saving. REQUIRES: the catalog is empty.
  AdapterRestoreReport Restore();

 private:
  absl::Status RestoreOne(const CatalogSnapshot::Adapter& saved);
  absl::StatusOr<std::shared_ptr<const SparseAdapter>> Read(const CatalogSnapshot::Adapter& saved);
  // Uploads and blends that are none of `sources`.
  void RemoveUploads(const std::set<std::string>& sources, bool is_known,
                     AdapterRestoreReport& report);
  void RemoveBlends(const std::set<std::string>& sources);

  const Parts parts_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_LIFECYCLE_ADAPTER_RESTORING_H_
