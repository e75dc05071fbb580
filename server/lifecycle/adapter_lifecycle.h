// File: server/lifecycle/adapter_lifecycle.h
//
// The use cases of adapters, without a transport: load, replace, blend, unload, alias, pin, make
// default, restore. The front door of three folders; what this class adds to them is that what a call
// has changed, or says that another has changed, is in the state file when it returns. Get(), List()
// and Aliases() alone do not wait for that.
//
//   catalog    names, versions and the rules about them: data, one lock (diagram in catalog.h)
//   residency  tables in memory: what is kept, what goes first, what is read and compiled again
//   lifecycle  what takes a disk or a thread: reading, writing, deleting, the end of a version
//
// However a version ends, the same happens (version_ends.h).
//
// Reading, checking and compiling happen on the caller's thread, never on the engine's. Requests
// pin what they use. A kReady adapter need not be in memory: its file has to stay where it is,
// since it is read again when that is needed.

#ifndef SHIRA_SERVER_LIFECYCLE_ADAPTER_LIFECYCLE_H_
#define SHIRA_SERVER_LIFECYCLE_ADAPTER_LIFECYCLE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "adapters/format/adapter_reader.h"
#include "adapters/sparse_adapter.h"
#include "adapters/switch/fusion_rule.h"
#include "adapters/switch/switch_engine.h"
#include "base/atomic_file.h"
#include "base/steady_clock.h"
#include "server/catalog/adapter_info.h"
#include "server/catalog/adapter_selection.h"
#include "server/catalog/alias_table.h"
#include "server/lifecycle/adapter_sources.h"
#include "server/lifecycle/lifecycle_stats.h"
#include "server/lifecycle/lifecycle_types.h"
#include "server/lifecycle/state_store.h"
#include "server/lifecycle/upload_store.h"
#include "server/residency/state_handle.h"

namespace shira {

// Thread-safe.
class AdapterLifecycle {
 public:
  using LoadOptions = AdapterLoadOptions;
  using LoadResult = AdapterLoadResult;
  using BlendResult = AdapterBlendResult;
  using RestoreReport = AdapterRestoreReport;
  using UnloadOptions = AdapterUnloadOptions;

  struct Options {
    // Folders below which clients may name adapters, and have blends written. Paths that lead out
    // of them, also by a symbolic link, are refused. None: clients can load nothing.
    std::vector<std::string> roots;
    // Adapters elsewhere, which only loads with LoadOptions::by_operator may name, and which may be
    // read again later. Nothing is ever written there.
    std::vector<std::string> operator_paths = {};
    int64_t max_adapters = 10'000;  // and as many aliases
    // Of each name this many versions before the newest stay, if their files belong to the server:
    // a user's files may be overwritten by the next version. They are removed when an adapter or an
    // upload would be refused for lack of room.
    int64_t keep_versions = 0;
    // For deltas and compiled states in memory, for as long as they are in use; what several
    // share counts once. Unused ones are evicted when room is needed (adapter_memory.h), and read
    // or compiled again when they are needed. What is being read is not counted.
    int64_t memory_budget_bytes = int64_t{8} << 30;
    // Adapters that are read at a time; others wait for their turn.
    int max_concurrent_loads = 4;
    // Where everything but running requests is kept over a restart (catalog_snapshot.h); empty:
    // nowhere.
    std::string state_file = "";
    StateStore::WriteFile write_state_file = WriteFileAtomically;
    // Called when the state file could not be written. What was to be saved is in effect, and saved
    // with the next change.
    std::function<void(const absl::Status&)> on_state_file_error = [](const absl::Status&) {};
    // Without a folder nothing can be uploaded.
    std::optional<UploadStore::Options> uploads = std::nullopt;
    // Called when no version has this content any more, for what others have of it: states in the
    // weights, kept prompts. On a thread for that, without any lock, so it may wait; never after
    // the destructor has returned.
    std::function<void(const Sha256Digest&)> on_gone = [](const Sha256Digest&) {};
    // Makes a state resident, for MakeDefault().
    ApplyState apply = [](const StateHandle&, SteadyTime) { return SwitchStats(); };
    // Ends the requests that use this content, soon, for UnloadOptions::cancel_running.
    std::function<void(const Sha256Digest&)> cancel_users = [](const Sha256Digest&) {};
    ReadAdapter read = [](const AdapterReader& reader, const std::string& path) {
      return reader.Read(path);
    };
  };

  // `reader` and `engine` must outlive this object. INVALID_ARGUMENT for a root or operator's path
  // that is neither a folder nor a file; errors of StateStore::Open() and UploadStore::Open().
  static absl::StatusOr<std::unique_ptr<AdapterLifecycle>> Create(Options options,
                                                                  const AdapterReader& reader,
                                                                  SwitchEngine& engine);
  ~AdapterLifecycle();

  // Loads what the state file says. REQUIRES: called at most once, before anything else.
  RestoreReport Restore();

  // Loads `path` (absolute, or relative to a root) under `name`. `expected_sha256` is hexadecimal
  // or empty. A call for what is being loaded already (the same name, path and digest) waits for
  // that load, and gets its result.
  //   INVALID_ARGUMENT   bad name ("base" is reserved), and whatever the reader refuses
  //   PERMISSION_DENIED  the path leads out of the roots
  //   NOT_FOUND          there is nothing at the path
  //   ALREADY_EXISTS     the name is loaded with other content and is not to be replaced, or is an
  //                      alias
  //   ABORTED            the same name is being loaded from elsewhere, or unloaded
  //   DATA_LOSS          the content has another SHA-256
  //   RESOURCE_EXHAUSTED over the budget or the number of adapters
  // On an error a name that was absent becomes kFailed, except for ABORTED, ALREADY_EXISTS, too
  // many adapters, and errors in the arguments (name, digest, a path that leads nowhere or out),
  // which change nothing. An adapter that is kReady stays so whatever happens.
  absl::StatusOr<LoadResult> Load(const std::string& name, const std::string& path,
                                  std::string_view expected_sha256, const LoadOptions& options);
  absl::StatusOr<LoadResult> Load(const std::string& name, const std::string& path,
                                  std::string_view expected_sha256);

  // As Load(), from a complete upload, which is deleted when the adapter is unloaded, or now if it
  // is not loaded from there. REQUIRES: uploads() is there and made it.
  absl::StatusOr<LoadResult> LoadUpload(const std::string& name, const std::string& path,
                                        std::string_view expected_sha256,
                                        const LoadOptions& options);
  // nullptr: nothing can be uploaded.
  UploadStore* uploads();
  // As uploads()->Begin(), but when there is no room, versions go that Options::keep_versions alone
  // keeps, the least recently used first. REQUIRES: uploads() is there.
  absl::StatusOr<std::unique_ptr<UploadStore::Upload>> BeginUpload(UploadManifest manifest);

  // Makes an adapter `name` out of others (fusion_blend.h), whose digest is BlendDigest() and whose
  // format is kBlendFormat. It lives like a loaded one, and does not need its parts any more.
  //
  // `save_path`: empty, or where to write it, absolute or relative to a root: a packed file if it
  // ends in ".shira", else a PEFT folder (adapter_writer.h). What is written can be loaded like any
  // adapter, and then has the digest of its file.
  //
  // The deltas of a blend stay in memory, since there is nothing to read them from again, unless
  // the file that it was saved in holds exactly them (a PEFT folder may be filled up with zeros),
  // or there is a state file, which has a folder for such blends.
  //
  // The same blend again under the same name is OK.
  //   NOT_FOUND, FAILED_PRECONDITION, DATA_LOSS  a part, as Acquire()
  //   NOT_FOUND           the folder to save in is not there
  //   PERMISSION_DENIED   save_path leads out of the roots, or cannot be written
  //   FAILED_PRECONDITION the format cannot hold the blend
  //   INVALID_ARGUMENT    bad name or save_path, and whatever BlendDigest() and Blend() refuse
  //   ALREADY_EXISTS      the name is loaded with other content, or something is at save_path
  //   ABORTED             the same name is being loaded or unloaded
  //   RESOURCE_EXHAUSTED  over the budget or the number of adapters
  // What an error leaves is as for Load(): errors in the arguments, also in save_path, and in
  // naming the parts change nothing. Nothing is saved unless everything else has succeeded.
  absl::StatusOr<BlendResult> CreateBlend(const std::string& name,
                                          absl::Span<const AdapterSelectionTerm> parts,
                                          const FusionOptions& options,
                                          const std::string& save_path);

  // Stops new uses at once, waits for the running ones until `deadline`, then frees the memory and
  // deletes what was uploaded, and waits for Options::on_gone. Of a name every version goes, of
  // name@version that one.
  // `on_unloading` is called once for each that has content, when kUnloading is published and
  // before the wait: the place to cancel the running requests instead.
  //   NOT_FOUND            no such adapter
  //   FAILED_PRECONDITION  part of the default state: revert first; or an alias names it
  //   ABORTED              another call is loading or unloading it
  //   DEADLINE_EXCEEDED    still in use at the deadline; it is kReady again
  //   CANCELLED            still in use when `is_cancelled`, which is asked several times a second,
  //                        said true; it is kReady again
  absl::Status Unload(
      const std::string& name, SteadyTime deadline,
      absl::FunctionRef<void(const AdapterInfo&)> on_unloading,
      absl::FunctionRef<bool()> is_cancelled = +[] { return false; });
  absl::Status Unload(const std::string& name, const UnloadOptions& options);

  // Keeps the adapter's state in memory, whatever room is needed, until Unpin(). The next version
  // of a name takes over the pin of the one before. Errors of Acquire().
  absl::StatusOr<AdapterInfo> PinInMemory(std::string_view name);
  absl::StatusOr<AdapterInfo> Unpin(std::string_view name);

  // Makes or moves an alias (alias_table.h) to a version that is kReady.
  //   INVALID_ARGUMENT     bad name, or the target is an alias
  //   ALREADY_EXISTS       an adapter has this name
  //   NOT_FOUND, FAILED_PRECONDITION  the target, as Acquire()
  //   RESOURCE_EXHAUSTED   Options::max_adapters aliases are there
  absl::StatusOr<AliasInfo> SetAlias(const std::string& alias, std::string_view target);
  // NOT_FOUND, or FAILED_PRECONDITION if there is no target before that can be used.
  absl::StatusOr<AliasInfo> RollbackAlias(std::string_view alias);
  // NOT_FOUND, or FAILED_PRECONDITION if the default state names it.
  absl::Status DeleteAlias(std::string_view alias);
  std::vector<AliasInfo> Aliases() const;

  std::optional<AdapterInfo> Get(std::string_view name) const;
  // In the order of names, then versions.
  std::vector<AdapterInfo> List() const;

  // What `terms` name now, in the state's canonical order. Pins, reads and compiles nothing, so the
  // names may mean something else at once. Errors of Acquire() about names and weights.
  absl::StatusOr<std::vector<AdapterRef>> Resolve(
      absl::Span<const AdapterSelectionTerm> terms) const;
  // The same for the default state.
  absl::StatusOr<std::vector<AdapterRef>> ResolveDefault() const;

  // Pins a weighted set. Compiles its state if that is not in memory (a few ms), and reads the
  // adapters' files again for that if it must. Empty terms: the base.
  //   NOT_FOUND            unknown name; or a file that has to be read again is gone
  //   FAILED_PRECONDITION  not kReady, and why
  //   INVALID_ARGUMENT     a name twice, a weight not finite
  //   DATA_LOSS            a file that had to be read again has changed
  //   RESOURCE_EXHAUSTED   over the budget
  absl::StatusOr<StateHandle> Acquire(absl::Span<const AdapterSelectionTerm> terms);

  // Pins the adapters alone, which takes no time: the handle's state is got when it is needed.
  // Errors of Acquire() about names and weights; RESOURCE_EXHAUSTED for what is larger than the whole
  // budget.
  absl::StatusOr<StateHandle> Hold(absl::Span<const AdapterSelectionTerm> terms);
  // The same for requests that name none; the base until SetDefault(). An adapter of the default may
  // have failed at a restart, and then no other takes its place.
  absl::StatusOr<StateHandle> HoldDefault();

  // Pins the state of requests that name none. Errors of Acquire().
  absl::StatusOr<StateHandle> AcquireDefault();
  // The default keeps the names: it follows replaced adapters and moved aliases. Errors of
  // Acquire().
  absl::Status SetDefault(absl::Span<const AdapterSelectionTerm> terms);
  // Makes a set resident in the weights, and then the default, one caller at a time. On an error the
  // default is as it was: errors of Acquire() and of Options::apply; DEADLINE_EXCEEDED if another
  // change was under way until then.
  DefaultChangeResult MakeDefault(absl::Span<const AdapterSelectionTerm> terms,
                                  SteadyTime deadline);

  // The adapters of a resident state by their names, for reports. A term whose adapter is not
  // loaded any more has an empty name.
  std::vector<AdapterRef> Describe(const StateKey& key) const;
  // The adapters of the default state. One that is not kReady has version 0 and no digest.
  std::vector<AdapterRef> DefaultState() const;

  // An adapter's deltas, from memory or from its file. Does not count as a use. Errors of
  // Acquire().
  absl::StatusOr<std::shared_ptr<const SparseAdapter>> Deltas(std::string_view name);

  // Of the memory budget; shared parts once.
  int64_t memory_in_use_bytes() const;

  LifecycleStats stats() const;

  // As Catalog::Violations(), for tests.
  std::vector<std::string> Violations() const;

 private:
  struct Impl;
  explicit AdapterLifecycle(std::shared_ptr<Impl> impl);
  // Shared, since handles may outlive this object.
  std::shared_ptr<Impl> impl_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_LIFECYCLE_ADAPTER_LIFECYCLE_H_
