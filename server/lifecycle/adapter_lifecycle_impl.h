// File: server/lifecycle/adapter_lifecycle_impl.h
//
// What is behind AdapterLifecycle. Names, pins and the default state are in adapter_uses.cc, loading
// in adapter_loading.cc, blending in adapter_blending.cc, versions, unloading and pins in memory in
// adapter_versions.cc, aliases in adapter_aliases.cc, the state file in adapter_restoring.cc, views
// in adapter_registry.cc.

#ifndef SHIRA_SERVER_LIFECYCLE_ADAPTER_LIFECYCLE_IMPL_H_
#define SHIRA_SERVER_LIFECYCLE_ADAPTER_LIFECYCLE_IMPL_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/residency/adapter_memory.h"
#include "server/lifecycle/adapter_record.h"
#include "server/lifecycle/adapter_lifecycle.h"
#include "server/catalog/alias_table.h"
#include "server/residency/delta_supplier.h"
#include "server/lifecycle/departures.h"
#include "server/lifecycle/load_slots.h"
#include "server/lifecycle/path_confinement.h"
#include "server/lifecycle/state_store.h"
#include "server/residency/state_supplier.h"
#include "server/lifecycle/upload_store.h"
#include "server/catalog/version_numbers.h"

namespace shira {

class AdapterLifecycle::Impl : public std::enable_shared_from_this<Impl> {
 public:
  // What Create() has made and found in order.
  struct Parts {
    Options options;
    PathConfinement client_paths;          // what clients may name
    PathConfinement operator_paths;        // and what the operator may
    PathConfinement all_paths;             // and what the registry itself has written
    std::unique_ptr<StateStore> store;     // nullptr: nothing survives a restart
    std::unique_ptr<UploadStore> uploads;  // nullptr: nothing can be uploaded
  };
  Impl(Parts parts, const AdapterReader& reader, SwitchEngine& engine);
  ~Impl();

  // Calls Options::on_gone no more.
  void Stop() { departures_.Stop(); }
  // Saves what has changed, waits for whoever is saving it, and deletes the files of what is gone.
  // Called before anybody is told of a change, whoever has made it.
  void SaveChanges() ABSL_LOCKS_EXCLUDED(mutex_, saving_mutex_);

  // The public methods, without the lock, and without saving.
  RestoreReport Restore() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<LoadResult> Load(const std::string& name, const std::string& path,
                                  std::string_view expected_sha256, const LoadOptions& options)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<LoadResult> LoadUpload(const std::string& name, const std::string& path,
                                        std::string_view expected_sha256,
                                        const LoadOptions& options) ABSL_LOCKS_EXCLUDED(mutex_);
  UploadStore* uploads() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<std::unique_ptr<UploadStore::Upload>> BeginUpload(const UploadManifest& manifest)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<BlendResult> CreateBlend(const std::string& name,
                                          absl::Span<const AdapterSelectionTerm> parts,
                                          const FusionOptions& options,
                                          const std::string& save_path) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Unload(const std::string& name, SteadyTime deadline,
                      absl::FunctionRef<void(const AdapterInfo&)> on_unloading,
                      absl::FunctionRef<bool()> is_cancelled) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<AdapterInfo> PinInMemory(std::string_view name) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<AdapterInfo> Unpin(std::string_view name) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<AliasInfo> SetAlias(const std::string& alias, std::string_view target)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<AliasInfo> RollbackAlias(std::string_view alias) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status DeleteAlias(std::string_view alias) ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<AliasInfo> Aliases() const ABSL_LOCKS_EXCLUDED(mutex_);
  std::optional<AdapterInfo> Get(std::string_view name) const ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<AdapterInfo> List() const ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<std::vector<AdapterRef>> Resolve(
      absl::Span<const AdapterSelectionTerm> terms) const ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<std::vector<AdapterRef>> ResolveDefault() const ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<StateHandle> Acquire(absl::Span<const AdapterSelectionTerm> terms)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<StateHandle> Hold(absl::Span<const AdapterSelectionTerm> terms)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<StateHandle> HoldDefault() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<StateHandle> AcquireDefault() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status SetDefault(absl::Span<const AdapterSelectionTerm> terms) ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<AdapterRef> Describe(const StateKey& key) const ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<AdapterRef> DefaultState() const ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<std::shared_ptr<const SparseAdapter>> Deltas(std::string_view name)
      ABSL_LOCKS_EXCLUDED(mutex_);
  int64_t memory_in_use_bytes() const { return memory_.in_use_bytes(); }
  LifecycleStats stats() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using AdapterPtr = std::shared_ptr<const SparseAdapter>;

  // A state with its adapters' records, each pinned once.
  struct Pinned {
    std::shared_ptr<const CompiledState> state;
    std::vector<AdapterRef> adapters;  // in the state's canonical order
    std::vector<RecordPtr> records;
  };
  // The same before there is a state.
  struct Wanted {
    std::vector<AdapterSelectionTerm> terms;
    StateKey key;
    std::vector<AdapterRef> adapters;
    std::vector<RecordPtr> records;    // in the order of the terms
    std::vector<DeltaSource> sources;  // of each
    int64_t entries = 0;               // of all
  };
  // A handle's: it unpins.
  class HeldAdapters;

  // ---- Names and uses: adapter_uses.cc ----

  // What a client names. NOT_FOUND, or INVALID_ARGUMENT for what is no reference at all.
  absl::StatusOr<RecordPtr> Find(std::string_view name) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // FAILED_PRECONDITION, with the reason, unless kReady.
  static absl::Status ExpectReady(const AdapterRecord& record, std::string_view name);
  // The records that `terms` name, all of them kReady, in their order.
  absl::StatusOr<std::vector<RecordPtr>> FindReady(
      absl::Span<const AdapterSelectionTerm> terms) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // FindReady() for the default state.
  absl::StatusOr<std::vector<RecordPtr>> FindDefault() const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What records were asked for by `terms`, in the state's canonical order.
  static std::vector<AdapterRef> RefsOf(absl::Span<const RecordPtr> records,
                                        absl::Span<const AdapterSelectionTerm> terms);

  absl::StatusOr<Pinned> Pin(absl::Span<const AdapterSelectionTerm> terms)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // The names' part of Pin(), and the state's.
  absl::StatusOr<Wanted> PinNamed(absl::Span<const AdapterSelectionTerm> terms)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<std::shared_ptr<const CompiledState>> Supply(const Wanted& wanted,
                                                              absl::FunctionRef<void()> on_memory)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Keeps the state of `wanted` if it is the default's.
  void KeepIfDefault(const Wanted& wanted, const std::shared_ptr<const CompiledState>& state)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void PinRecords(absl::Span<const RecordPtr> records) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void UnpinRecords(absl::Span<const RecordPtr> records) ABSL_LOCKS_EXCLUDED(mutex_);
  StateHandle ToHandle(Pinned pinned);
  // Lets go of the default's state if the default's names mean something else by now.
  void RefreshDefault() ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether the default state names this very version.
  bool IsDefault(const AdapterRecord& record) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The adapters that the default state names, kReady or not.
  std::vector<std::string> DefaultNames() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  AdapterInfo Describe(const AdapterRecord& record, const StateKey& resident) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // ---- Loading: adapter_loading.cc ----

  // A caller's turn to load under a name; or somebody else has it, and the caller waits.
  struct LoadTurn {
    RecordPtr record;  // the name's newest: a new one that is kLoading, or kReady or kFailed
    std::shared_ptr<LoadJob> job;
    bool is_mine = false;
  };
  absl::StatusOr<LoadTurn> BeginLoad(const std::string& name, const std::string& path,
                                     std::string key) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<LoadResult> AwaitJob(const LoadTurn& turn) ABSL_LOCKS_EXCLUDED(mutex_);
  void EndTurn(const LoadTurn& turn, const absl::StatusOr<LoadResult>& result)
      ABSL_LOCKS_EXCLUDED(mutex_);

  struct LoadRequest {
    std::string name;
    std::string path;  // canonical
    std::string expected_sha256;
    FileOwner owner = FileOwner::kUser;
    LoadOptions options;
  };
  absl::StatusOr<LoadResult> LoadShared(const LoadRequest& request) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<LoadResult> LoadAlone(const LoadRequest& request, const RecordPtr& record)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<AdapterPtr> Read(const LoadRequest& request);
  absl::StatusOr<AdapterPtr> ReadAgain(const std::string& path);

  // What content with this digest is to a name's newest record. ALREADY_EXISTS if it may not be
  // replaced; `what` has the content, for that error.
  enum class Novelty { kSame, kRecovered, kNewVersion };
  absl::StatusOr<Novelty> NoveltyOf(const RecordPtr& record, const Sha256Digest& digest,
                                    bool replace, std::string_view what) const
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Publishes kReady, or what an error leaves.
  absl::StatusOr<LoadResult> Publish(const RecordPtr& record, SteadyTime start,
                                     const absl::StatusOr<AdapterPtr>& adapter,
                                     DeltaBacking backing) ABSL_LOCKS_EXCLUDED(mutex_);
  void PublishFailure(AdapterRecord& record, const absl::Status& error)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes the memory for the adapter's own state and compiles it, so that switching to it needs no
  // more.
  absl::StatusOr<std::shared_ptr<const CompiledState>> CompileOwnState(const AdapterPtr& adapter);

  // ---- Blending: adapter_blending.cc ----

  // Holds a new blend's deltas, compiles its own state, and saves it: where the caller wants it,
  // unless `path` is empty, and where it survives a restart.
  absl::StatusOr<DeltaBacking> MakeBlendReady(const AdapterPtr& blend, const std::string& path)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Writes a blend to a new path, and reads it again.
  absl::StatusOr<DeltaBacking> SaveBlend(const AdapterPtr& blend, const std::string& path,
                                         FileOwner owner) const;
  // The parts of a blend, read. Whoever calls it has them pinned.
  absl::StatusOr<FusionResult> BlendPinned(const FusionOptions& options,
                                           absl::Span<const AdapterSelectionTerm> parts,
                                           absl::Span<const DeltaSource> sources);

  // ---- Versions: adapter_versions.cc ----

  // What keeps a version although a newer one is there: somebody wants this very version, or
  // Options::keep_versions.
  bool IsWanted(const AdapterRecord& record) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsRecent(const AdapterRecord& record) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes what nothing keeps any more of a name's older versions out of service; each goes with its
  // last user. Called after everything that may end what keeps one.
  void RetireUnkept(const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Ends the least recently used version that Options::keep_versions alone keeps, of those with
  // files of this owner, if one is given. False if there is none.
  bool EndRecent(std::optional<FileOwner> owner) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Where every version ends: forgets it, its memory, its place in the aliases' histories, and its
  // files if they are ours; if nobody else has its content, departures_ does the rest. REQUIRES:
  // nobody uses it; changes_ has counted that it goes.
  void Erase(const RecordPtr& record) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Forgets what is there of content that no record has.
  void DropUnlessLoaded(const Sha256Digest& digest) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int64_t RecordCount() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // What Unload() is about: publishes kUnloading.
  struct Unloading {
    std::vector<RecordPtr> records;  // all of them
    std::vector<RecordPtr> stopped;  // those that were kReady
    std::vector<AdapterInfo> infos;  // of those with content
  };
  absl::StatusOr<Unloading> BeginUnload(const std::string& name) ABSL_LOCKS_EXCLUDED(mutex_);
  // Back to kReady. Returns how many requests use them.
  int64_t GiveUpUnload(const Unloading& unloading) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status ExpectUnloadable(const AdapterRecord& record) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // ---- The state file: adapter_restoring.cc ----

  CatalogSnapshot Snapshot() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Files of adapters that are gone, to be deleted once the state file does not name them any more.
  struct Garbage {
    int64_t change = 0;
    FileOwner owner = FileOwner::kUser;
    std::string source;
  };
  bool IsRemovable(const Garbage& garbage) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // When it returns, all that was removable is gone, whoever removes it.
  void RemoveGarbage() ABSL_LOCKS_EXCLUDED(mutex_, removing_mutex_);
  // Until stopping_: a version's last user, who may be the engine's thread, waits for no disk.
  void RemoveGarbageWhenThereIsSome() ABSL_LOCKS_EXCLUDED(mutex_, removing_mutex_);
  void RemoveFiles(FileOwner owner, const std::string& source);
  absl::Status RestoreOne(const CatalogSnapshot::Adapter& saved) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<AdapterPtr> ReadSaved(const CatalogSnapshot::Adapter& saved);

  // Constant after construction.
  const Options options_;
  const PathConfinement client_paths_;
  const PathConfinement operator_paths_;
  const PathConfinement all_paths_;
  const std::unique_ptr<StateStore> store_;
  const std::unique_ptr<UploadStore> uploads_;
  // Not used by handles, which may outlive them.
  const AdapterReader& reader_;
  SwitchEngine& engine_;

  // Synchronise themselves.
  LoadSlots slots_;
  AdapterMemory memory_;
  StateSupplier states_;
  DeltaSupplier deltas_;
  Departures departures_;

  // Held while the state file is written, so that no older snapshot comes after a newer one.
  absl::Mutex saving_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);
  // Held while files are deleted.
  absl::Mutex removing_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);

  mutable absl::Mutex mutex_;
  std::map<std::string, AdapterVersions, std::less<>> records_ ABSL_GUARDED_BY(mutex_);
  VersionNumbers versions_ ABSL_GUARDED_BY(mutex_);
  AliasTable aliases_ ABSL_GUARDED_BY(mutex_);
  std::vector<AdapterSelectionTerm> default_terms_ ABSL_GUARDED_BY(mutex_);
  // What the terms meant when they were looked at last; its records' pins are not counted.
  Pinned default_ ABSL_GUARDED_BY(mutex_);

  std::vector<Garbage> garbage_ ABSL_GUARDED_BY(mutex_);
  int64_t changes_ ABSL_GUARDED_BY(mutex_) = 0;  // of what the state file has
  int64_t saved_changes_ ABSL_GUARDED_BY(mutex_) = 0;

  LifecycleStats stats_ ABSL_GUARDED_BY(mutex_);  // only what is counted

  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread cleaner_;  // last: it uses what is above
};

}  // namespace shira

#endif  // SHIRA_SERVER_LIFECYCLE_ADAPTER_LIFECYCLE_IMPL_H_
