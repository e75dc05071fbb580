// File: server/residency/delta_supplier.h
//
// The deltas of an adapter that was loaded: from memory, or read again from where they came.

#ifndef SHIRA_SERVER_RESIDENCY_DELTA_SUPPLIER_H_
#define SHIRA_SERVER_RESIDENCY_DELTA_SUPPLIER_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "adapters/sparse_adapter.h"
#include "base/sha256.h"
#include "base/single_flight.h"
#include "server/catalog/catalog.h"
#include "server/residency/adapter_memory.h"

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

// Of a version in use.
DeltaSource SourceOf(const Catalog::Uses::Version& version);

// Reads an adapter from where it was loaded, if it may still be read from there.
using ReadAdapterAgain =
    std::function<absl::StatusOr<std::shared_ptr<const SparseAdapter>>(const std::string& path)>;

// Thread-safe. Reads on the caller's thread.
class DeltaSupplier {
 public:
  // `memory` must outlive this object. `read` is called on any thread.
  DeltaSupplier(ReadAdapterAgain read, AdapterMemory& memory)
      : read_(std::move(read)), memory_(memory) {}

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

  const ReadAdapterAgain read_;
  AdapterMemory& memory_;

  using ReadingKey = std::pair<std::string, Sha256Digest>;  // the adapter's name, for errors
  SingleFlight<ReadingKey, std::shared_ptr<const SparseAdapter>> readings_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_RESIDENCY_DELTA_SUPPLIER_H_
