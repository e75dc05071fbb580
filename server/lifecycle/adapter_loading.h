// File: server/lifecycle/adapter_loading.h
//
// Loading and replacing: read, check, compile, and only then publish. A load of what is
// being loaded already (the same name, path and digest) joins that load (base/single_flight.h).

#ifndef SHIRA_SERVER_LIFECYCLE_ADAPTER_LOADING_H_
#define SHIRA_SERVER_LIFECYCLE_ADAPTER_LOADING_H_

#include <memory>
#include <string>
#include <string_view>
#include <tuple>

#include "absl/status/statusor.h"
#include "adapters/sparse_adapter.h"
#include "base/single_flight.h"
#include "base/steady_clock.h"
#include "server/catalog/catalog.h"
#include "server/lifecycle/adapter_sources.h"
#include "server/lifecycle/adapter_views.h"
#include "server/lifecycle/lifecycle_stats.h"
#include "server/lifecycle/lifecycle_types.h"
#include "server/lifecycle/upload_store.h"
#include "server/residency/adapter_memory.h"
#include "server/residency/served_states.h"

namespace shira {

// Thread-safe. Reads and compiles on the caller's thread.
class AdapterLoading {
 public:
  // All of them must outlive this object. `uploads`: nullptr if there are none.
  struct Parts {
    Catalog& catalog;
    AdapterSources& sources;
    AdapterMemory& memory;
    ServedStates& states;
    const AdapterViews& views;
    UploadStore* uploads;
    LoadBook& book;
  };
  explicit AdapterLoading(Parts parts) : parts_(parts) {}

  // AdapterLifecycle::Load() and LoadUpload(), but for saving.
  absl::StatusOr<AdapterLoadResult> Load(const std::string& name, const std::string& path,
                                         std::string_view expected_sha256,
                                         const AdapterLoadOptions& options);
  absl::StatusOr<AdapterLoadResult> LoadUpload(const std::string& name, const std::string& path,
                                               std::string_view expected_sha256,
                                               const AdapterLoadOptions& options);

  // How every load ends that has something new: publishes kReady, or what an error leaves. Blends
  // end with it too. `held`: Catalog's HeldTables::deltas. REQUIRES: the adapter's own state is
  // compiled.
  absl::StatusOr<AdapterLoadResult> Finish(
      const Catalog::LoadTurn& turn, SteadyTime start,
      const absl::StatusOr<std::shared_ptr<const SparseAdapter>>& adapter, AdapterOrigin origin,
      std::shared_ptr<const SparseAdapter> held);

 private:
  struct Request {
    std::string name;
    std::string path;  // canonical
    std::string expected_sha256;
    FileOwner owner = FileOwner::kUser;
    AdapterLoadOptions options;
  };
  absl::StatusOr<AdapterLoadResult> LoadShared(const Request& request);
  absl::StatusOr<AdapterLoadResult> LoadAlone(const Request& request,
                                              const Catalog::LoadTurn& turn);
  absl::StatusOr<std::shared_ptr<const SparseAdapter>> Read(const Request& request);

  const Parts parts_;
  // Name, path, digest, format, replace: equal ones are the same work.
  using FlightKey = std::tuple<std::string, std::string, std::string, std::string, bool>;
  SingleFlight<FlightKey, AdapterLoadResult> flights_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_LIFECYCLE_ADAPTER_LOADING_H_
