// File: adapters/format/packed_writer.h
//
// Writes an adapter as a packed file (*.shira; packed_layout.h).
//
//   SHIRA_ASSIGN_OR_RETURN(PackedFile file, PackAdapter(*adapter, {.tool = "shira-adapter 0.1.0"}));

#ifndef SHIRA_ADAPTERS_FORMAT_PACKED_WRITER_H_
#define SHIRA_ADAPTERS_FORMAT_PACKED_WRITER_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/sparse_adapter.h"
#include "base/sha256.h"

namespace shira {

struct PackOptions {
  // Values as bf16, rounded to nearest. False: a parameter's values are bf16 where that holds each
  // of them bit for bit, and fp32 elsewhere.
  bool round_to_bf16 = false;
  // SwitchEngine::base_digest() of the only weights that the adapter may be applied to.
  std::optional<Sha256Digest> base_digest = {};
  // Provenance; empty: not written.
  std::string tool = {};
  std::string date = {};
};

struct PackReport {
  int64_t entries = 0;
  int64_t parameters = 0;
  int64_t tables = 0;       // after equal ones were merged
  int64_t table_bytes = 0;  // their codes
  int64_t value_bytes = 0;
  // The largest |stored - given| over all values, and where it is. 0 and empty when nothing was
  // rounded.
  double max_rounding_error = 0;
  std::string max_rounding_error_parameter;
};

struct PackedFile {
  std::string bytes;  // the whole file
  PackReport report;
};

// INVALID_ARGUMENT for an adapter without deltas, a matrix of more than 2^40 elements, a scale that
// is not finite, a value that rounds to an infinity, or a parameter's name that is no UTF-8. What
// was rounded for the resident dtype when the adapter was read (SparseAdapter::rounds_values) is
// stored as it is: read with a BaseModelIdentity without a dtype to pack the file's own values.
absl::StatusOr<PackedFile> PackAdapter(const SparseAdapter& adapter, const PackOptions& options);

}  // namespace shira

#endif  // SHIRA_ADAPTERS_FORMAT_PACKED_WRITER_H_
