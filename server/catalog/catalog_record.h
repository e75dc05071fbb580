// File: server/catalog/catalog_record.h
//
// What the catalog knows of one version of an adapter, and the rules about the versions of a name.

#ifndef SHIRA_SERVER_CATALOG_CATALOG_RECORD_H_
#define SHIRA_SERVER_CATALOG_CATALOG_RECORD_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/sha256.h"
#include "server/catalog/adapter_info.h"
#include "server/catalog/adapter_name.h"
#include "server/catalog/adapter_state.h"
#include "server/catalog/catalog_snapshot.h"

namespace shira {

struct CompiledState;
struct SparseAdapter;

// Where an adapter's deltas can be read again from.
struct AdapterOrigin {
  std::string path = "";    // as shown; empty for a blend that was not saved
  std::string source = "";  // what to read; empty: HeldTables::deltas has them
  Sha256Digest source_digest =
      {};  // of what is at `source`; another than the adapter's for a blend
  FileOwner owner = FileOwner::kUser;
};

// What stays in memory with a version and is never evicted. The catalog only holds the references,
// and releases them with the version.
struct HeldTables {
  // Deltas that cannot be read again from the origin; else nullptr.
  std::shared_ptr<const SparseAdapter> deltas = nullptr;
  // The version's own state; set iff it is pinned and kReady.
  std::shared_ptr<const CompiledState> state = nullptr;
};

// Guarded by the catalog's mutex (the annotation cannot say so across classes).
struct CatalogRecord {
  std::string name;
  int64_t version = 0;  // 0: was never kReady
  AdapterState state = AdapterState::kLoading;
  std::string error;
  std::shared_ptr<const AdapterSummary> summary;  // set iff kReady or kUnloading
  AdapterOrigin origin;
  HeldTables held;
  // What the state file said of it, until it is kReady.
  std::optional<CatalogSnapshot::Adapter> saved;
  // A load under this name is under way, also one that finds the same content again and leaves the
  // record as it is.
  bool is_loading = false;
  bool retiring = false;  // kUnloading because it was replaced: it ends with its last user
  bool pinned = false;    // in memory
  int64_t users = 0;
  absl::Time load_time = absl::InfinitePast();
  absl::Duration load_duration;
  absl::Time last_use = absl::InfinitePast();

  AdapterVersion id() const { return {name, version}; }

  // The digest that its content has, or has to have; nullopt if it never had any.
  std::optional<Sha256Digest> digest() const;

  // FAILED_PRECONDITION for an arrow that the life cycle does not have.
  absl::Status MoveTo(AdapterState to);
};

using RecordPtr = std::shared_ptr<CatalogRecord>;
// One name's records by version, at least one; version 0 is one that was never kReady.
using AdapterVersions = std::map<int64_t, RecordPtr>;

// The version that the name means: the newest that is not kUnloading; else the newest that is there
// for more than the requests that it has; else nullptr.
RecordPtr NewestOf(const AdapterVersions& versions);

// Whether it is one of the last `keep_versions` before the newest, among those whose files belong
// to the server: a user's files may be overwritten by the next version.
bool IsRecent(const AdapterVersions& versions, const CatalogRecord& record, int64_t keep_versions);

}  // namespace shira

#endif  // SHIRA_SERVER_CATALOG_CATALOG_RECORD_H_
