// File: server/executor/batch_row.h
//
// What a forward pass takes: a batch is a list of rows, each a part of one sequence.

#ifndef SHIRA_SERVER_EXECUTOR_BATCH_ROW_H_
#define SHIRA_SERVER_EXECUTOR_BATCH_ROW_H_

#include <cstdint>

#include "absl/types/span.h"
#include "adapters/switch/compiled_state.h"

namespace shira {

// The KV memory of one sequence: pages, some of which it may share with others. Destroying it
// frees the pages that are not shared.
class SequenceCache {
 public:
  virtual ~SequenceCache() = default;
  // Tokens whose keys and values are stored.
  virtual int64_t length() const = 0;
  // Tokens that fit. Their memory is reserved, so storing them cannot fail.
  virtual int64_t capacity() const = 0;
};

// One sequence's part of a step: `tokens` follow what `cache` holds.
struct BatchRow {
  SequenceCache* cache = nullptr;    // made by the executor that runs the row
  absl::Span<const int32_t> tokens;  // one for decoding, more for a prefill chunk; never empty
  bool wants_logits = false;         // of the last token
  // The weights that this row is to be computed with; outlives the call.
  const CompiledState* state = nullptr;
};

}  // namespace shira

#endif  // SHIRA_SERVER_EXECUTOR_BATCH_ROW_H_
