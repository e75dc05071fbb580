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
// frees the pages that are not shared. What layers with a window need is kept from their windows on.
class SequenceCache {
 public:
  virtual ~SequenceCache() = default;
  // Tokens that were stored.
  virtual int64_t length() const = 0;
  // Tokens that it may come to hold. Their memory is reserved, so storing them cannot fail.
  virtual int64_t capacity() const = 0;
  // Makes the first `tokens` of those that the last pass over this sequence drafted part of it, as if
  // they had been run as any others; the rest is forgotten. Until then none of them is. REQUIRES:
  // called at most once after a pass, and before anything else is done with the sequence; `tokens` is
  // not above BatchRow::drafted.
  virtual void Accept(int64_t tokens) = 0;
  // Tokens that the next pass may store: the rest of the capacity, but where layers have windows not
  // always all at once; at least KvGeometry::chunk_tokens of it.
  virtual int64_t room() const = 0;
  // Whether a fork can begin with the first `tokens`: 0 to length() of them, as long as what layers
  // with windows need to go on from there is still kept. It is for length(), and for the multiples
  // of the page's tokens right before it.
  virtual bool can_fork(int64_t tokens) const = 0;
  // Pages that it has or that are reserved for it; shared ones among them.
  virtual int64_t pages() const = 0;
  // No more tokens will be stored: the capacity becomes the length, and the rest is free.
  virtual void Finish() = 0;
};

// One sequence's part of a step: `tokens` follow what `cache` holds.
struct BatchRow {
  SequenceCache* cache = nullptr;    // made by the executor that runs the row
  absl::Span<const int32_t> tokens;  // one for decoding, more for a prefill chunk; never empty
  // Of the last token, and of those before it as far as the one that the first drafted token follows:
  // 1 + drafted logits, in the order of the tokens.
  bool wants_logits = false;
  // The weights that this row is to be computed with; outlives the call.
  const CompiledState* state = nullptr;
  // So many of the last tokens, less than all, are guesses (SequenceCache::Accept()); 0 unless
  // wants_logits.
  int64_t drafted = 0;

  // How many of its tokens' logits it wants: the last ones'.
  int64_t logits() const { return wants_logits ? 1 + drafted : 0; }
};

}  // namespace shira

#endif  // SHIRA_SERVER_EXECUTOR_BATCH_ROW_H_
