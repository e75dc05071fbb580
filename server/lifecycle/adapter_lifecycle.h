// File: server/lifecycle/adapter_lifecycle.h
//
// Which adapters there are, by name and version, and their life cycle:
//
//   (absent) --Load--> kLoading --ok--> kReady --Unload--> kUnloading --no user left--> (absent)
//                          |              |                    |
//                          |              +----replaced---->   +--timeout of Unload--> kReady
//                          +--error--> kFailed --Load--> ...
//                                         +--Unload--> (absent)
//
// A name means its newest version that is not kUnloading. A version that is replaced serves the
// requests that it has and goes with the last of them, unless an alias mentions it, the default
// state names it, it is pinned, or Options::keep_versions keeps it: then it stays kReady, to be had
// as name@version, until that is over. However a version ends, the same happens: its memory goes,
// its files if they are the registry's own, and, when no other version has its content,
// Options::on_gone is called.
//
// What a call has changed, or says that another has changed, is in the state file when it returns;
// Get(), List() and Aliases() alone do not wait for that.
//
// What a client names is an adapter, "name@version" or an alias.
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
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "adapters/format/adapter_reader.h"
#include "adapters/sparse_adapter.h"
#include "adapters/switch/fusion_blend.h"
#include "adapters/switch/fusion_rule.h"
#include "adapters/switch/switch_engine.h"
#include "base/atomic_file.h"
#include "base/steady_clock.h"
#include "server/catalog/adapter_state.h"
#include "server/catalog/alias_table.h"
#include "server/lifecycle/lifecycle_stats.h"
#include "server/residency/state_handle.h"
#include "server/lifecycle/state_store.h"
#include "server/lifecycle/upload_store.h"

namespace shira {

// What stays known of an adapter whose deltas are not in memory.
struct AdapterSummary {
  Sha256Digest digest;
  std::string format;
  std::string base_model;  // what the file says it was trained on; may be empty
  int64_t entries = 0;
  int64_t parameter_count = 0;
};

// A moment's view of one adapter.
struct AdapterInfo {
  std::string name;
  int64_t version = 0;  // 0 while the first version loads; never used twice for a name
  AdapterState state = AdapterState::kLoading;
  AdapterResidency residency = AdapterResidency::kOnDisk;
  std::string path;   // canonical; empty for a blend that was not saved
  std::string error;  // why it is kFailed
  bool pinned = false;
  std::vector<std::string> aliases;  // that name this version
  // nullptr unless kReady or kUnloading.
  std::shared_ptr<const AdapterSummary> adapter;
  int64_t memory_bytes =
      0;  // what is in memory of tables, deltas and own state; shared parts in full
  int64_t running_requests = 0;
  absl::Time load_time = absl::InfinitePast();
  absl::Duration load_duration;
  absl::Time last_use = absl::InfinitePast();  // InfinitePast: never
};

// Thread-safe.
class AdapterLifecycle {
 public:
  struct Options {
    // Folders below which clients may name adapters, and have blends written. Paths that lead out
    // of them, also by a symbolic link, are refused. None: clients can load nothing.
    std::vector<std::string> roots;
    // Adapters elsewhere, which only loads with LoadOptions::by_operator may name, and which may be
    // read again later. Nothing is ever written there.
    std::vector<std::string> operator_paths = {};
    int64_t max_adapters = 10'000;  // and as many aliases
    // Of each name so many versions before the newest stay, of those whose files are the registry's
    // own: others may be written over by the next version. They go when an adapter or an upload
    // would be refused for want of room.
    int64_t keep_versions = 0;
    // For deltas and compiled states in memory, for as long as anybody holds them; what several
    // share counts once. Unused ones are evicted when room is needed (adapter_memory.h), and read
    // or compiled again when they are needed. What is being read is not counted.
    int64_t memory_budget_bytes = int64_t{8} << 30;
    // Adapters that are read at a time; others wait for their turn.
    int max_concurrent_loads = 4;
    // Where everything but running requests is kept over a restart (registry_snapshot.h); empty:
    // nowhere.
    std::string state_file = "";
    StateStore::WriteFile write_state_file = WriteFileAtomically;
    // Called when the state file could not be written. What was to be saved is in effect, and saved
    // with the next change.
    std::function<void(const absl::Status&)> on_state_file_error = [](const absl::Status&) {};
    // Without a folder nothing can be uploaded.
    std::optional<UploadStore::Options> uploads = std::nullopt;
    // Called when no version has this content any more, for what others have of it: states in the
    // weights, kept prompts. On a thread of the registry's own, without any lock, so it may wait;
    // never after the registry's destructor has returned.
    std::function<void(const Sha256Digest&)> on_gone = [](const Sha256Digest&) {};
  };

  // `reader` and `engine` must outlive this object. INVALID_ARGUMENT for a root or operator's path
  // that is neither a folder nor a file; errors of StateStore::Open() and UploadStore::Open().
  static absl::StatusOr<std::unique_ptr<AdapterLifecycle>> Create(Options options,
                                                                 const AdapterReader& reader,
                                                                 SwitchEngine& engine);
  ~AdapterLifecycle();

  struct RestoreReport {
    int64_t restored = 0;
    // What could not be read again, and why; it is kFailed until it is loaded again or unloaded.
    std::vector<std::pair<std::string, absl::Status>> failed;  // name@version
    // Uploads that no adapter has: a server was killed before it had written their adapter into the
    // state file. They are removed, if the state file was there to tell; what is in the folder
    // otherwise stays.
    std::vector<std::string> removed_uploads;
    std::vector<std::string> unused_uploads;
  };
  // Loads what the state file says. REQUIRES: called at most once, before anything else.
  RestoreReport Restore();

  struct LoadOptions {
    // An adapter of the same name with other content becomes its version before.
    bool replace = false;
    // INVALID_ARGUMENT unless the adapter is in this format; empty: any.
    std::string format = "";
    // The path may be one of Options::operator_paths.
    bool by_operator = false;
  };
  struct LoadResult {
    AdapterInfo info;
    bool already_loaded = false;
    std::optional<Sha256Digest> replaced =
        std::nullopt;  // what the version before was, if it is no newest any more
  };
  // Loads `path` (absolute, or relative to a root) under `name`. `expected_sha256` is hexadecimal
  // or empty. Who asks for what somebody else is loading (the same name, path and digest) waits for
  // that, and gets its result.
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

  struct BlendResult {
    AdapterInfo info;
    FusionReport report;
    bool already_created = false;
  };

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
  //   ABORTED              being loaded or unloaded by somebody else
  //   DEADLINE_EXCEEDED    still in use at the deadline; it is kReady again
  //   CANCELLED            still in use when `is_cancelled`, which is asked several times a second,
  //                        said true; it is kReady again
  absl::Status Unload(const std::string& name, SteadyTime deadline,
                      absl::FunctionRef<void(const AdapterInfo&)> on_unloading,
                      absl::FunctionRef<bool()> is_cancelled = +[] { return false; });

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

  // Pins the adapters alone, which takes no time: the handle's state is to be had when it is needed.
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

 private:
  class Impl;
  explicit AdapterLifecycle(std::shared_ptr<Impl> impl);
  // Shared, since handles may outlive the registry.
  std::shared_ptr<Impl> impl_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_LIFECYCLE_ADAPTER_LIFECYCLE_H_
