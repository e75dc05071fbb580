// File: server/lifecycle/adapter_record.h
//
// What the registry knows of one version of an adapter, and of a load that is under way.

#ifndef SHIRA_SERVER_LIFECYCLE_ADAPTER_RECORD_H_
#define SHIRA_SERVER_LIFECYCLE_ADAPTER_RECORD_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "adapters/switch/compiled_state.h"
#include "adapters/switch/state_key.h"
#include "server/catalog/adapter_name.h"
#include "server/lifecycle/adapter_lifecycle.h"
#include "server/residency/delta_supplier.h"
#include "server/catalog/catalog_snapshot.h"

namespace shira {

// Those who want what is being loaded wait for it here. Guarded by the registry's mutex.
struct LoadJob {
  std::string key;  // what is loaded: equal keys are the same work; empty: shared with nobody
  bool done = false;
  absl::StatusOr<AdapterLifecycle::LoadResult> result = absl::UnknownError("not done");
};

// Where deltas are to be had again.
struct DeltaBacking {
  std::string path = "";    // as shown; empty for a blend that was not saved
  std::string source = "";  // what to read; empty: `held` has them
  Sha256Digest source_digest =
      {};  // of what is at `source`; another than the adapter's for a blend
  FileOwner owner = FileOwner::kUser;
  // Deltas that cannot be read again from `source`; else nullptr, and AdapterMemory has them or
  // not.
  std::shared_ptr<const SparseAdapter> held = nullptr;
};

// Guarded by the registry's mutex (the annotation cannot say so across classes).
struct AdapterRecord {
  std::string name;
  int64_t version = 0;  // 0: was never kReady
  AdapterState state = AdapterState::kLoading;
  std::string error;
  std::shared_ptr<const AdapterSummary> adapter;  // set iff kReady or kUnloading
  StateKey own_state;                             // this adapter alone, with weight 1
  DeltaBacking backing;
  // What the state file said of it, until it is kReady.
  std::optional<CatalogSnapshot::Adapter> saved;
  // A load under this name is under way, also one that finds the same content again and leaves the
  // record as it is.
  std::shared_ptr<LoadJob> job;
  bool retiring = false;  // kUnloading because it was replaced: whoever unpins it last erases it
  bool pinned = false;    // in memory, by PinInMemory()
  std::shared_ptr<const CompiledState> pinned_state;  // set iff pinned and kReady
  int64_t pins = 0;                                   // handles
  absl::Time load_time = absl::InfinitePast();
  absl::Duration load_duration;
  absl::Time last_use = absl::InfinitePast();

  AdapterVersion id() const { return {name, version}; }

  // The digest that its content has, or has to have; nullopt if it never had any.
  std::optional<Sha256Digest> digest() const;

  // REQUIRES: kReady or kUnloading.
  DeltaSource source() const;

  // FAILED_PRECONDITION for an arrow that the life cycle does not have.
  absl::Status MoveTo(AdapterState to);
};

using RecordPtr = std::shared_ptr<AdapterRecord>;
// One name's records by version, at least one; version 0 is one that was never kReady.
using AdapterVersions = std::map<int64_t, RecordPtr>;

// The version that the name means: the newest that is not kUnloading; else the newest that is there
// for more than the requests that it has; else nullptr.
RecordPtr NewestOf(const AdapterVersions& versions);

}  // namespace shira

#endif  // SHIRA_SERVER_LIFECYCLE_ADAPTER_RECORD_H_
