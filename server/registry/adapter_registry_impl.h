// File: server/registry/adapter_registry_impl.h
//
// What is behind AdapterRegistry. Loading is in adapter_loading.cc, blending in
// adapter_blending.cc, everything else in adapter_registry.cc.

#ifndef SHIRA_SERVER_REGISTRY_ADAPTER_REGISTRY_IMPL_H_
#define SHIRA_SERVER_REGISTRY_ADAPTER_REGISTRY_IMPL_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/registry/adapter_memory.h"
#include "server/registry/adapter_registry.h"
#include "server/registry/delta_supplier.h"
#include "server/registry/path_confinement.h"
#include "server/registry/state_supplier.h"

namespace shira {

// One name's entry. Guarded by Impl::mutex_ (the annotation cannot say so across classes).
struct AdapterRecord {
  std::string name;
  int64_t version = 0;
  AdapterState state = AdapterState::kLoading;
  std::string path;
  std::string error;
  std::shared_ptr<const AdapterSummary> adapter;  // set iff kReady or kUnloading
  StateKey own_state;                             // this adapter alone, with weight 1
  Sha256Digest file_digest;  // of what is at `path`; another than the adapter's for a saved blend
  // Deltas that cannot be read again from `path`; else nullptr, and AdapterMemory has them or not.
  std::shared_ptr<const SparseAdapter> held;
  // A Load() is under way, also one that finds the same content again and leaves kReady as it is.
  bool load_running = false;
  int64_t pins = 0;  // handles
  absl::Time load_time = absl::InfinitePast();
  absl::Duration load_duration;
  absl::Time last_use = absl::InfinitePast();

  // REQUIRES: kReady or kUnloading.
  DeltaSource source() const;

  // FAILED_PRECONDITION for an arrow that the life cycle does not have.
  absl::Status MoveTo(AdapterState to);
};

class AdapterRegistry::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(Options options, PathConfinement paths, const AdapterReader& reader, SwitchEngine& engine)
      : options_(std::move(options)),
        paths_(std::move(paths)),
        reader_(reader),
        engine_(engine),
        memory_(options_.memory_budget_bytes),
        states_(engine, memory_),
        deltas_(reader, paths_, memory_) {
    default_.state = engine_.base();
  }

  absl::StatusOr<LoadResult> Load(const std::string& name, const std::string& path,
                                  std::string_view expected_sha256) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<BlendResult> CreateBlend(const std::string& name,
                                          absl::Span<const AdapterSelectionTerm> parts,
                                          const FusionOptions& options,
                                          const std::string& save_path) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Unload(const std::string& name, absl::Time deadline,
                      absl::FunctionRef<void(const AdapterInfo&)> on_unloading)
      ABSL_LOCKS_EXCLUDED(mutex_);
  std::optional<AdapterInfo> Get(std::string_view name) const ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<AdapterInfo> List() const ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<StateHandle> Acquire(absl::Span<const AdapterSelectionTerm> terms)
      ABSL_LOCKS_EXCLUDED(mutex_);
  StateHandle AcquireDefault() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status SetDefault(absl::Span<const AdapterSelectionTerm> terms) ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<AdapterRef> Describe(const StateKey& key) const ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<AdapterRef> DefaultState() const ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<std::shared_ptr<const SparseAdapter>> Deltas(std::string_view name)
      ABSL_LOCKS_EXCLUDED(mutex_);
  int64_t memory_in_use_bytes() const { return memory_.in_use_bytes(); }

 private:
  using RecordPtr = std::shared_ptr<AdapterRecord>;

  // A state with its adapters' records, each pinned once.
  struct Pinned {
    std::shared_ptr<const CompiledState> state;
    std::vector<AdapterRef> adapters;  // in the state's canonical order
    std::vector<RecordPtr> records;
  };

  absl::StatusOr<Pinned> Pin(absl::Span<const AdapterSelectionTerm> terms)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void PinRecords(absl::Span<const RecordPtr> records) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void UnpinRecords(absl::Span<const RecordPtr> records) ABSL_LOCKS_EXCLUDED(mutex_);
  StateHandle ToHandle(Pinned pinned);

  // The records that `terms` name, all of them kReady.
  absl::StatusOr<std::vector<RecordPtr>> FindReady(
      absl::Span<const AdapterSelectionTerm> terms) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Publishes kLoading (or marks a kReady record as being looked at again).
  absl::StatusOr<RecordPtr> BeginLoad(const std::string& name, const std::string& path)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<std::shared_ptr<const SparseAdapter>> Read(const std::string& path,
                                                            std::string_view expected_sha256) const;
  // Where deltas are to be had again: held, or in a file with this digest.
  struct Backing {
    std::shared_ptr<const SparseAdapter> held;
    Sha256Digest file_digest;
  };

  // Publishes kReady, or kFailed if `adapter` is an error.
  absl::StatusOr<LoadResult> FinishLoad(
      const RecordPtr& record, absl::Time start,
      const absl::StatusOr<std::shared_ptr<const SparseAdapter>>& adapter, Backing backing)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Takes the memory for the adapter's own state and compiles it, so that switching to it needs no
  // more.
  absl::Status CompileOwnState(const std::shared_ptr<const SparseAdapter>& adapter);

  // Forgets what is in memory of an adapter that no record has.
  void DropUnlessLoaded(const Sha256Digest& digest) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Holds a new blend's deltas, compiles its own state, and saves it unless `path` is empty.
  absl::Status MakeBlendReady(const std::shared_ptr<const SparseAdapter>& blend,
                              const std::string& path, Backing& backing)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Writes a blend to a path of PathConfinement::ResolveNew(), and reads it again.
  absl::StatusOr<Backing> SaveBlend(const std::shared_ptr<const SparseAdapter>& blend,
                                    const std::string& path) const;
  // The parts of a blend, read. Whoever calls it has them pinned.
  absl::StatusOr<FusionResult> BlendPinned(const FusionOptions& options,
                                           absl::Span<const AdapterSelectionTerm> parts,
                                           absl::Span<const DeltaSource> sources);

  AdapterInfo Describe(const AdapterRecord& record, const StateKey& resident) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Constant after construction.
  const Options options_;
  const PathConfinement paths_;
  // Not used by handles, which may outlive them.
  const AdapterReader& reader_;
  SwitchEngine& engine_;

  // Synchronise themselves.
  AdapterMemory memory_;
  StateSupplier states_;
  DeltaSupplier deltas_;

  mutable absl::Mutex mutex_;
  std::map<std::string, RecordPtr, std::less<>> records_ ABSL_GUARDED_BY(mutex_);
  // The last version of every name that was ever ready: a version is never used twice.
  std::map<std::string, int64_t> versions_ ABSL_GUARDED_BY(mutex_);
  Pinned default_ ABSL_GUARDED_BY(mutex_);  // its records' pins are not counted
};

}  // namespace shira

#endif  // SHIRA_SERVER_REGISTRY_ADAPTER_REGISTRY_IMPL_H_
