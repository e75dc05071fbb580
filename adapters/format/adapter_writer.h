// File: adapters/format/adapter_writer.h
//
// The table of formats that an adapter can be written in. A new one is a writer in a file of its
// own and one line in adapter_writer.cc.

#ifndef SHIRA_ADAPTERS_FORMAT_ADAPTER_WRITER_H_
#define SHIRA_ADAPTERS_FORMAT_ADAPTER_WRITER_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "adapters/sparse_adapter.h"
#include "base/dtype.h"

namespace shira {

struct AdapterWriteOptions {
  DType values = DType::kF32;  // kF32, or kBF16 to round them to nearest even
  bool replace = false;        // of what is at the path
  std::string tool;            // the program that writes, for formats that note it
};

struct AdapterWriter {
  std::string_view name;    // as on the command line
  std::string_view suffix;  // of the paths that the format is chosen for; empty for the default
  std::string_view description;  // for --help
  // Writes the adapter so that it appears at `path` whole or not at all. ALREADY_EXISTS unless
  // `replace`; FAILED_PRECONDITION for an adapter that the format cannot hold; INVALID_ARGUMENT for
  // a dtype that it cannot; errors of AtomicFile and AtomicFolder.
  absl::Status (*write)(const SparseAdapter& adapter, const std::string& path,
                        const AdapterWriteOptions& options);
};

absl::Span<const AdapterWriter> AdapterWriters();

// By name; with an empty name by the suffix of `path`. INVALID_ARGUMENT names what is known.
absl::StatusOr<const AdapterWriter*> FindAdapterWriter(std::string_view name,
                                                       std::string_view path);

}  // namespace shira

#endif  // SHIRA_ADAPTERS_FORMAT_ADAPTER_WRITER_H_
