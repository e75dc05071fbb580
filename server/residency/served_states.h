// File: server/residency/served_states.h
//
// From names to states in memory: what requests hold while they run. The catalog says what names
// mean and keeps the versions there; the suppliers read and compile what is not in memory.

#ifndef SHIRA_SERVER_RESIDENCY_SERVED_STATES_H_
#define SHIRA_SERVER_RESIDENCY_SERVED_STATES_H_

#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "adapters/sparse_adapter.h"
#include "adapters/switch/compiled_state.h"
#include "adapters/switch/switch_engine.h"
#include "server/catalog/adapter_selection.h"
#include "server/catalog/catalog.h"
#include "server/residency/adapter_memory.h"
#include "server/residency/delta_supplier.h"
#include "server/residency/residency_stats.h"
#include "server/residency/state_handle.h"
#include "server/residency/state_supplier.h"

namespace shira {

// Thread-safe. Reads and compiles on the caller's thread. `owner` of a handle keeps this object, and
// what it was made with, alive for as long as the handle is: handles outlive everything else.
class ServedStates {
 public:
  // All of them must outlive this object; the engine and what `read` uses may be gone before the last
  // handles are, which then get nothing any more.
  ServedStates(Catalog& catalog, AdapterMemory& memory, SwitchEngine& engine, ReadAdapterAgain read)
      : catalog_(catalog),
        memory_(memory),
        engine_(engine),
        states_(engine, memory),
        deltas_(std::move(read), memory) {}

  // Pins a weighted set. Compiles its state if that is not in memory (a few ms), and reads the
  // adapters' files again for that if it must. Empty terms: the base. Errors of Catalog::Resolve(),
  // and
  //   NOT_FOUND            a file that has to be read again is gone
  //   DATA_LOSS            a file that had to be read again has changed
  //   RESOURCE_EXHAUSTED   over the budget
  absl::StatusOr<StateHandle> Acquire(absl::Span<const AdapterSelectionTerm> terms,
                                      std::shared_ptr<const void> owner);
  absl::StatusOr<StateHandle> AcquireDefault(std::shared_ptr<const void> owner);

  // Pins the adapters alone, which takes no time: the handle's state is got when it is needed.
  // Errors of Catalog::Resolve(); RESOURCE_EXHAUSTED for what is larger than the whole budget.
  absl::StatusOr<StateHandle> Hold(absl::Span<const AdapterSelectionTerm> terms,
                                   std::shared_ptr<const void> owner);
  absl::StatusOr<StateHandle> HoldDefault(std::shared_ptr<const void> owner);

  // The state of versions in use. `on_memory`: as StateSource::Get().
  absl::StatusOr<std::shared_ptr<const CompiledState>> Supply(
      const Catalog::Uses& uses, absl::FunctionRef<void()> on_memory = +[] {})
      ABSL_LOCKS_EXCLUDED(mutex_);
  // A version's deltas, from memory or from its file.
  absl::StatusOr<std::shared_ptr<const SparseAdapter>> DeltasOf(
      const Catalog::Uses::Version& version);

  // Takes the memory for an adapter's own state and compiles it, so that switching to it needs no
  // more. It stays in memory while the result is held.
  absl::StatusOr<std::shared_ptr<const CompiledState>> CompileOwn(
      const std::shared_ptr<const SparseAdapter>& adapter);

  // Keeps a state in memory as the default's, if that is what the default means now.
  void KeepIfDefault(const Catalog::Uses& uses, std::shared_ptr<const CompiledState> state)
      ABSL_LOCKS_EXCLUDED(default_mutex_);
  // Releases the default's state if the default means something else by now. Called after
  // everything that may change what its names mean.
  void RefreshDefault() ABSL_LOCKS_EXCLUDED(default_mutex_);

  UseCounts counts() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // A handle's: it releases the versions.
  class HeldAdapters;

  absl::StatusOr<StateHandle> ToHandle(absl::StatusOr<Catalog::Uses> uses,
                                       std::shared_ptr<const void> owner, bool is_default);
  absl::StatusOr<StateHandle> ToHeldHandle(absl::StatusOr<Catalog::Uses> uses,
                                           std::shared_ptr<const void> owner);

  Catalog& catalog_;
  AdapterMemory& memory_;
  SwitchEngine& engine_;
  StateSupplier states_;
  DeltaSupplier deltas_;

  // Held while the catalog is asked what the default means, so that no older answer wins.
  absl::Mutex default_mutex_;
  std::vector<AdapterRef> default_adapters_ ABSL_GUARDED_BY(default_mutex_);
  std::shared_ptr<const CompiledState> default_state_ ABSL_GUARDED_BY(default_mutex_);

  mutable absl::Mutex mutex_;
  UseCounts counts_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace shira

#endif  // SHIRA_SERVER_RESIDENCY_SERVED_STATES_H_
