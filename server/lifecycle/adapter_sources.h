// File: server/lifecycle/adapter_sources.h
//
// Where adapters may be read from, and by how many threads at a time.

#ifndef SHIRA_SERVER_LIFECYCLE_ADAPTER_SOURCES_H_
#define SHIRA_SERVER_LIFECYCLE_ADAPTER_SOURCES_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "adapters/format/adapter_reader.h"
#include "adapters/sparse_adapter.h"
#include "server/lifecycle/load_slots.h"
#include "server/lifecycle/path_confinement.h"

namespace shira {

// Reads what is at a canonical path. AdapterReader::Read(), but for tests.
using ReadAdapter = std::function<absl::StatusOr<std::shared_ptr<const SparseAdapter>>(
    const AdapterReader& reader, const std::string& path)>;

// Thread-safe. Reads on the caller's thread, which waits for its turn.
class AdapterSources {
 public:
  struct Paths {
    PathConfinement client;     // what clients may name
    PathConfinement operators;  // and what the operator may
    PathConfinement all;        // and what the server itself has written
  };
  // `reader` must outlive this object.
  AdapterSources(Paths paths, int max_concurrent_reads, const AdapterReader& reader,
                 ReadAdapter read)
      : paths_(std::move(paths)),
        slots_(max_concurrent_reads),
        reader_(reader),
        read_(std::move(read)) {}

  // As PathConfinement::Resolve() and ResolveNew(), of the paths that clients may name.
  absl::StatusOr<std::string> Resolve(const std::string& path, bool by_operator) const;
  absl::StatusOr<std::string> ResolveNew(const std::string& path) const;

  // REQUIRES: `path` is resolved.
  absl::StatusOr<std::shared_ptr<const SparseAdapter>> Read(const std::string& path);
  // From where it was loaded. PERMISSION_DENIED if the path leads elsewhere by now: a folder may have
  // become a link.
  absl::StatusOr<std::shared_ptr<const SparseAdapter>> ReadAgain(const std::string& path);

  const AdapterReader& reader() const { return reader_; }

 private:
  const Paths paths_;
  LoadSlots slots_;
  const AdapterReader& reader_;
  const ReadAdapter read_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_LIFECYCLE_ADAPTER_SOURCES_H_
