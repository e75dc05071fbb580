// File: server/catalog/catalog.h
//
// Which adapters there are: names, versions, aliases, the default state and who uses what, with the
// rules about them. Data alone: nothing here reads, compiles, deletes or waits for a disk, and
// nothing is called under its lock. The life cycle of a version:
//
//   (absent) --BeginLoad--> kLoading --Publish--> kReady --BeginUnload--> kUnloading --> (absent)
//                              |                    |                        |
//                              |                    +------replaced------>   +--GiveUpUnload--> kReady
//                              +--Fail--> kFailed --BeginLoad--> ...
//                                            +--BeginUnload--> (absent)
//
// A name means its newest version that is not kUnloading. A version that is replaced serves the
// requests that it has and ends with the last of them, unless an alias mentions it, the default
// state names it, it is pinned, or Options::keep_versions keeps it: then it stays kReady, available
// as name@version, until that is over. However a version ends, Options::on_end is called for it.
//
// What a client names is an adapter, "name@version" or an alias.

#ifndef SHIRA_SERVER_CATALOG_CATALOG_H_
#define SHIRA_SERVER_CATALOG_CATALOG_H_

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
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/steady_clock.h"
#include "server/catalog/adapter_info.h"
#include "server/catalog/adapter_selection.h"
#include "server/catalog/alias_table.h"
#include "server/catalog/catalog_record.h"
#include "server/catalog/catalog_snapshot.h"
#include "server/catalog/version_numbers.h"

namespace shira {

// Thread-safe, by one mutex that is never held while anything else is locked or called.
class Catalog {
 public:
  // A version that is gone, and what is left of it for others to do away with.
  struct Ended {
    AdapterVersion version;
    std::optional<Sha256Digest> content;  // set iff no other version has it
    AdapterOrigin origin;
    HeldTables held;
    int64_t change = 0;  // snapshots of this change and later ones do not have it
  };

  struct Options {
    int64_t max_adapters = 10'000;  // and as many aliases
    // Of each name this many versions before the newest stay, if their files belong to the server.
    // They are removed when an adapter or an upload would be refused for lack of room.
    int64_t keep_versions = 0;
    // Called for every version that ends, once, without the lock, on the thread that has ended it
    // and before the method that did so returns.
    std::function<void(Ended)> on_end = [](Ended) {};
  };

  explicit Catalog(Options options) : options_(std::move(options)) {}

  // ---- Views ----

  // AdapterInfo but for what is known elsewhere: residency and memory_bytes.
  struct Entry {
    AdapterInfo info;
    std::shared_ptr<const SparseAdapter> held;  // HeldTables::deltas
  };
  std::optional<Entry> Get(std::string_view name) const ABSL_LOCKS_EXCLUDED(mutex_);
  // In the order of names, then versions.
  std::vector<Entry> List() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether a version is there whose content has this digest.
  bool HasContent(const Sha256Digest& digest) const ABSL_LOCKS_EXCLUDED(mutex_);
  // Gives contents, by their digests, the names that they have: of several names the first, in its
  // newest version. One that is not there gets none.
  void FindNames(std::vector<AdapterRef>& contents) const ABSL_LOCKS_EXCLUDED(mutex_);

  // ---- Uses ----

  // What `terms` name now, in the state's canonical order (by digest).
  //   NOT_FOUND            unknown name
  //   FAILED_PRECONDITION  not kReady, and why
  //   INVALID_ARGUMENT     a name or content twice, a weight not finite, no reference at all
  absl::StatusOr<std::vector<AdapterRef>> Resolve(
      absl::Span<const AdapterSelectionTerm> terms) const ABSL_LOCKS_EXCLUDED(mutex_);

  // Versions in use: none of them ends before this is destroyed. Move-only;
  // thread-compatible; may be destroyed on any thread. The catalog must outlive it.
  class Uses {
   public:
    struct Version {
      AdapterVersion id;
      std::shared_ptr<const AdapterSummary> summary;
      AdapterOrigin origin;
      std::shared_ptr<const SparseAdapter> held;  // HeldTables::deltas
      double weight = 1.0;
    };

    Uses() = default;
    Uses(Uses&& other) noexcept { *this = std::move(other); }
    Uses& operator=(Uses&& other) noexcept;
    ~Uses();

    const std::vector<Version>& versions() const { return versions_; }  // in the order of the terms
    const std::vector<AdapterRef>& adapters() const { return adapters_; }  // canonical
    bool empty() const { return versions_.empty(); }
    int64_t entries() const;  // of all

   private:
    friend class Catalog;
    Catalog* catalog_ = nullptr;
    bool counts_ = true;  // as a use, for AdapterInfo::last_use
    std::vector<RecordPtr> records_;
    std::vector<Version> versions_;
    std::vector<AdapterRef> adapters_;
  };
  // Errors of Resolve().
  absl::StatusOr<Uses> Use(absl::Span<const AdapterSelectionTerm> terms)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // The same for the default state.
  absl::StatusOr<Uses> UseDefault() ABSL_LOCKS_EXCLUDED(mutex_);
  // One version, to be looked at: AdapterInfo::last_use stays.
  absl::StatusOr<Uses> LookAt(std::string_view name) ABSL_LOCKS_EXCLUDED(mutex_);

  // ---- The default state ----

  // Names, of which an adapter may be replaced, an alias moved: the default follows.
  // FAILED_PRECONDITION unless all that `uses` has is still kReady.
  absl::Status SetDefault(absl::Span<const AdapterSelectionTerm> terms, const Uses& uses)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Errors of Resolve(), in the default's name.
  absl::StatusOr<std::vector<AdapterRef>> ResolveDefault() const ABSL_LOCKS_EXCLUDED(mutex_);
  // One that is not kReady has version 0 and no digest.
  std::vector<AdapterRef> DefaultState() const ABSL_LOCKS_EXCLUDED(mutex_);

  // ---- Aliases ----

  //   INVALID_ARGUMENT     bad name, or the target is an alias
  //   ALREADY_EXISTS       an adapter has this name
  //   NOT_FOUND, FAILED_PRECONDITION  the target, as Resolve()
  //   RESOURCE_EXHAUSTED   Options::max_adapters aliases are there
  absl::StatusOr<AliasInfo> SetAlias(const std::string& alias, std::string_view target)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // NOT_FOUND, or FAILED_PRECONDITION if there is no target before that can be used.
  absl::StatusOr<AliasInfo> RollbackAlias(std::string_view alias) ABSL_LOCKS_EXCLUDED(mutex_);
  // NOT_FOUND, or FAILED_PRECONDITION if the default state names it.
  absl::Status DeleteAlias(std::string_view alias) ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<AliasInfo> Aliases() const ABSL_LOCKS_EXCLUDED(mutex_);

  // ---- Loading ----

  // The exclusive right to load under a name, until EndLoad(), which must be called in any case.
  class LoadTurn {
    friend class Catalog;
    RecordPtr newest;  // of the name: a new one that is kLoading, or kReady or kFailed
  };
  // `path` is shown while the first version loads.
  //   ALREADY_EXISTS      the name is an alias
  //   ABORTED             the name is being loaded or unloaded
  //   RESOURCE_EXHAUSTED  too many adapters
  absl::StatusOr<LoadTurn> BeginLoad(const std::string& name, const std::string& path)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void EndLoad(const LoadTurn& turn) ABSL_LOCKS_EXCLUDED(mutex_);

  // What content with this digest is to the name's newest version. ALREADY_EXISTS if that may not
  // be replaced; `what` has the content, for the error.
  enum class Novelty { kSame, kRecovered, kNewVersion };
  absl::StatusOr<Novelty> NoveltyOf(const LoadTurn& turn, const Sha256Digest& digest, bool replace,
                                    std::string_view what) const ABSL_LOCKS_EXCLUDED(mutex_);

  struct Content {
    AdapterSummary summary;
    AdapterOrigin origin;
    HeldTables held;  // its state is kept if the version is pinned
    absl::Duration load_duration;
  };
  struct Published {
    Entry entry;
    // What the version before was, if it is the newest no more.
    std::optional<Sha256Digest> replaced;
  };
  // The content becomes kReady: as what the newest version has to be, or else as the next one,
  // which takes over the pin of the one before.
  absl::StatusOr<Published> Publish(const LoadTurn& turn, Content content)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // A name that had no version becomes kFailed; what is kReady stays so.
  void Fail(const LoadTurn& turn, const absl::Status& error) ABSL_LOCKS_EXCLUDED(mutex_);
  // Of the newest version.
  Entry EntryOf(const LoadTurn& turn) const ABSL_LOCKS_EXCLUDED(mutex_);

  // ---- Ends ----

  // Versions that are to go, of which those that were kReady are kUnloading.
  class Unloading {
   public:
    // Of those with content; empty from then on, since entries keep the versions' tables.
    std::vector<Entry> TakeEntries() { return std::exchange(entries_, {}); }

   private:
    friend class Catalog;
    std::vector<RecordPtr> records_;  // all of them
    std::vector<RecordPtr> stopped_;  // those that were kReady
    std::vector<Entry> entries_;
  };
  // Of a name every version, of name@version that one.
  //   NOT_FOUND            no such adapter
  //   FAILED_PRECONDITION  part of the default state, or an alias names it
  //   ABORTED              another call is loading or unloading it
  absl::StatusOr<Unloading> BeginUnload(const std::string& name) ABSL_LOCKS_EXCLUDED(mutex_);
  // Waits until none is in use, and ends them all then. False if one still is at the deadline.
  bool AwaitAndEnd(const Unloading& unloading, SteadyTime deadline) ABSL_LOCKS_EXCLUDED(mutex_);
  // Back to kReady. Returns how many requests use them.
  int64_t GiveUp(const Unloading& unloading) ABSL_LOCKS_EXCLUDED(mutex_);

  // Ends the least recently used version that Options::keep_versions alone keeps, of those with
  // files of this owner. False if there is none.
  bool EndRecent(FileOwner owner) ABSL_LOCKS_EXCLUDED(mutex_);

  // ---- Pins in memory ----

  // `uses` is one version, and `state` its own. FAILED_PRECONDITION unless it is still kReady; `name`
  // is what it was called, for the error.
  absl::StatusOr<Entry> Pin(const Uses& uses, std::string_view name,
                            std::shared_ptr<const CompiledState> state) ABSL_LOCKS_EXCLUDED(mutex_);
  // Errors of Resolve() about names.
  absl::StatusOr<Entry> Unpin(std::string_view name) ABSL_LOCKS_EXCLUDED(mutex_);

  // ---- What survives a restart ----

  // How often what a snapshot has was changed.
  int64_t changes() const ABSL_LOCKS_EXCLUDED(mutex_);
  // A snapshot and its change; nullopt if nothing was changed since `known_change`.
  std::optional<std::pair<int64_t, CatalogSnapshot>> SnapshotAfter(int64_t known_change) const
      ABSL_LOCKS_EXCLUDED(mutex_);
  // What was there, every version kLoading. Of each one FinishRestored() or FailRestored() is called
  // then, and EndRestore() when that is done. REQUIRES: nothing is there.
  void Restore(const CatalogSnapshot& saved) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status FinishRestored(const AdapterVersion& version, Content content)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void FailRestored(const AdapterVersion& version, const absl::Status& error)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Lets go of what nothing keeps any more, by the options of this start.
  void EndRestore() ABSL_LOCKS_EXCLUDED(mutex_);

  // Every violation of what this class promises about its own data; for tests.
  std::vector<std::string> Violations() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // The lock of methods that may end versions: once it is released, it tells of them.
  class ABSL_SCOPED_LOCKABLE EndingLock {
   public:
    explicit EndingLock(Catalog& catalog) ABSL_EXCLUSIVE_LOCK_FUNCTION(catalog.mutex_);
    ~EndingLock() ABSL_UNLOCK_FUNCTION();

   private:
    Catalog& catalog_;
  };

  // ---- Names: catalog.cc ----

  // What a client names. NOT_FOUND, or INVALID_ARGUMENT for what is no reference at all.
  absl::StatusOr<RecordPtr> Find(std::string_view name) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // FAILED_PRECONDITION, with the reason, unless kReady.
  static absl::Status ExpectReady(const CatalogRecord& record, std::string_view name);
  // The records that `terms` name, all of them kReady, in their order.
  absl::StatusOr<std::vector<RecordPtr>> FindReady(
      absl::Span<const AdapterSelectionTerm> terms) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<std::vector<RecordPtr>> FindDefault() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Uses UsesOf(std::vector<RecordPtr> records, absl::Span<const AdapterSelectionTerm> terms,
              bool counts) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Release(const Uses& uses) ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether the default state names this very version.
  bool IsDefault(const CatalogRecord& record) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Entry Describe(const CatalogRecord& record) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int64_t RecordCount() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // ---- Versions: catalog_versions.cc ----

  // Whether a version stays although a newer one is there: an alias, a pin or the default names it.
  bool IsWanted(const CatalogRecord& record) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes those of a name's older versions out of service that nothing keeps any more; each ends
  // with its last user. Called after everything that may end what keeps one.
  void RetireUnkept(const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool EndRecentOf(std::optional<FileOwner> owner) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Where every version ends: removes it and its place in the aliases' histories; EndingLock
  // reports it. REQUIRES: it is not in use; changes_ has counted its end.
  void Erase(const RecordPtr& record) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HasContentLocked(const Sha256Digest& digest) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FailRecord(CatalogRecord& record, const absl::Status& error)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static void Fill(CatalogRecord& record, Content content);
  absl::Status ExpectUnloadable(const CatalogRecord& record) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  CatalogSnapshot Snapshot() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  RecordPtr FindVersion(const AdapterVersion& version) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Constant after construction.
  const Options options_;

  mutable absl::Mutex mutex_;
  std::map<std::string, AdapterVersions, std::less<>> records_ ABSL_GUARDED_BY(mutex_);
  VersionNumbers numbers_ ABSL_GUARDED_BY(mutex_);
  AliasTable aliases_ ABSL_GUARDED_BY(mutex_);
  std::vector<AdapterSelectionTerm> default_terms_ ABSL_GUARDED_BY(mutex_);
  int64_t changes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<Ended> ended_ ABSL_GUARDED_BY(mutex_);  // and not told of yet
};

}  // namespace shira

#endif  // SHIRA_SERVER_CATALOG_CATALOG_H_
