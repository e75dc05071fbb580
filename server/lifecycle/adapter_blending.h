// File: server/lifecycle/adapter_blending.h
//
// Making one adapter out of others, and keeping it: in memory, in a file of the caller's, in one of
// the server's own that survives a restart.

#ifndef SHIRA_SERVER_LIFECYCLE_ADAPTER_BLENDING_H_
#define SHIRA_SERVER_LIFECYCLE_ADAPTER_BLENDING_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "adapters/sparse_adapter.h"
#include "adapters/switch/fusion_blend.h"
#include "adapters/switch/fusion_rule.h"
#include "server/catalog/catalog.h"
#include "server/lifecycle/adapter_loading.h"
#include "server/lifecycle/adapter_sources.h"
#include "server/lifecycle/adapter_views.h"
#include "server/lifecycle/file_removal.h"
#include "server/lifecycle/lifecycle_types.h"
#include "server/lifecycle/state_store.h"
#include "server/lifecycle/version_ends.h"
#include "server/residency/adapter_memory.h"
#include "server/residency/served_states.h"

namespace shira {

// Thread-safe. Reads, blends and writes on the caller's thread.
class AdapterBlending {
 public:
  // All of them must outlive this object. `store`: nullptr if nothing survives a restart.
  struct Parts {
    Catalog& catalog;
    AdapterSources& sources;
    AdapterMemory& memory;
    ServedStates& states;
    const AdapterViews& views;
    AdapterLoading& loading;
    VersionEnds& ends;
    FileRemoval& removal;
    const StateStore* store;
  };
  explicit AdapterBlending(Parts parts) : parts_(parts) {}

  // AdapterLifecycle::CreateBlend(), but for saving.
  absl::StatusOr<AdapterBlendResult> Create(const std::string& name,
                                            absl::Span<const AdapterSelectionTerm> terms,
                                            const FusionOptions& options,
                                            const std::string& save_path);

 private:
  // Where a blend can be read again from.
  struct Backing {
    AdapterOrigin origin;
    std::shared_ptr<const SparseAdapter> held;  // nullptr if the origin's source has exactly it
  };

  absl::StatusOr<AdapterLoadResult> CreateAlone(const Catalog::Uses& uses,
                                                const FusionOptions& options,
                                                absl::Span<const AdapterSelectionTerm> terms,
                                                const Sha256Digest& digest, const std::string& path,
                                                const Catalog::LoadTurn& turn,
                                                FusionReport& report);
  // Holds a new blend's deltas, compiles its own state, and saves it: where the caller wants it,
  // unless `path` is empty, and where it survives a restart.
  absl::StatusOr<Backing> MakeReady(const std::shared_ptr<const SparseAdapter>& blend,
                                    const std::string& path);
  // Writes a blend to a new path, and reads it again.
  absl::StatusOr<Backing> Save(const std::shared_ptr<const SparseAdapter>& blend,
                               const std::string& path, FileOwner owner);
  absl::StatusOr<FusionResult> BlendUsed(const FusionOptions& options,
                                         absl::Span<const AdapterSelectionTerm> terms,
                                         const Catalog::Uses& uses);

  const Parts parts_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_LIFECYCLE_ADAPTER_BLENDING_H_
