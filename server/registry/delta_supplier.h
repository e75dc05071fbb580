// File: server/registry/delta_supplier.h
//
// The deltas of an adapter that is registered: from memory, or read again from where they came.

#ifndef SHIRA_SERVER_REGISTRY_DELTA_SUPPLIER_H_
#define SHIRA_SERVER_REGISTRY_DELTA_SUPPLIER_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "adapters/format/adapter_reader.h"
#include "adapters/sparse_adapter.h"
#include "base/sha256.h"
#include "base/single_flight.h"
#include "server/registry/adapter_memory.h"
#include "server/registry/load_slots.h"
#include "server/registry/path_confinement.h"

namespace shira {

// Where an adapter's deltas can be had.
struct DeltaSource {
  std::string name;          // for errors
  Sha256Digest digest;       // the adapter's
  std::string path;          // canonical
  Sha256Digest file_digest;  // of what is at `path`; another than `digest` for a saved blend
  // Set iff they cannot be read again; then there may be no path.
  std::shared_ptr<const SparseAdapter> held;
};

// Thread-safe. Reads on the caller's thread.
class DeltaSupplier {
 public:
  // All of them must outlive this object.
  DeltaSupplier(const AdapterReader& reader, const PathConfinement& paths, AdapterMemory& memory,
                LoadSlots& slots)
      : reader_(reader), paths_(paths), memory_(memory), slots_(slots) {}

  struct Supply {
    std::shared_ptr<const SparseAdapter> deltas;
    bool was_read = false;  // from the file, by this call or by one that it waited for
  };

  // Deltas that are read are kept in memory if there is room. Those who want the same ones while
  // they are read wait for them. Errors name the path and what to do:
  //   NOT_FOUND          nothing is there any more
  //   DATA_LOSS          what is there is not what was loaded
  //   PERMISSION_DENIED  the path leads out of the roots by now
  //   RESOURCE_EXHAUSTED there is no memory to read it into
  //   and others of the file system
  absl::StatusOr<Supply> Get(const DeltaSource& source);

 private:
  absl::StatusOr<std::shared_ptr<const SparseAdapter>> Read(const DeltaSource& source) const;
  absl::StatusOr<std::shared_ptr<const SparseAdapter>> ReadFile(const std::string& path) const;

  const AdapterReader& reader_;
  const PathConfinement& paths_;
  AdapterMemory& memory_;
  LoadSlots& slots_;

  using ReadingKey = std::pair<std::string, Sha256Digest>;  // the adapter's name, for errors
  SingleFlight<ReadingKey, std::shared_ptr<const SparseAdapter>> readings_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_REGISTRY_DELTA_SUPPLIER_H_
