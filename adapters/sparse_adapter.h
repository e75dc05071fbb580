// File: adapters/sparse_adapter.h
//
// One adapter in memory: for each parameter that it touches, where and by how much. Whatever file
// it came from, this is what the rest of the program sees, and every invariant below has been
// checked.

#ifndef SHIRA_ADAPTERS_SPARSE_ADAPTER_H_
#define SHIRA_ADAPTERS_SPARSE_ADAPTER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "adapters/index_table.h"
#include "base/sha256.h"

namespace shira {

// What a parameter's values do to the weights that they meet.
enum class ValueKind {
  kDelta,        // are added to them
  kReplacement,  // take their place
};

struct ParameterDelta {
  std::string parameter;  // Hugging Face name, "model.layers.0.self_attn.q_proj.weight"
  std::shared_ptr<const IndexTable> table;  // at least one entry
  std::vector<float> values;                // [table->entries()], in the table's order; finite
  ValueKind kind = ValueKind::kDelta;
};

// Immutable. Readers in adapters/format make it; see AdapterReader for what they refuse.
struct SparseAdapter {
  // Ascending by parameter name, no name twice, at least one.
  std::vector<ParameterDelta> deltas;
  // Factor on every value (1 unless the format has its own).
  float scale = 1.0f;
  // The values are meant to be rounded to the resident dtype before they are used, as PEFT's
  // Super-Tuning does. The reader has done so where it knows the dtype.
  bool rounds_values = false;
  // SHA-256 of the file that holds the tensors, as sha256sum prints it.
  Sha256Digest digest;
  std::string format;      // the format table's name for the reader
  std::string base_model;  // what the file says it was trained on; may be empty

  int64_t entries() const;
  // Counts index tables in full, although they may be shared.
  int64_t memory_bytes() const;
};

}  // namespace shira

#endif  // SHIRA_ADAPTERS_SPARSE_ADAPTER_H_
