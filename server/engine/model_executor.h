// File: server/engine/model_executor.h
//
// The seam between the engine and the model: one forward pass over a mixed batch of prefill chunks
// and decode rows. The engine's tests put a double here; the real one is torch_model_executor.

#ifndef SHIRA_SERVER_ENGINE_MODEL_EXECUTOR_H_
#define SHIRA_SERVER_ENGINE_MODEL_EXECUTOR_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace shira {

// The KV memory of one sequence. Destroying it frees the memory.
class SequenceCache {
 public:
  virtual ~SequenceCache() = default;
  // Tokens whose keys and values are stored.
  virtual int64_t length() const = 0;
  // Tokens that fit.
  virtual int64_t capacity() const = 0;
};

// One sequence's part of a step: `tokens` follow what `cache` holds.
struct BatchRow {
  SequenceCache* cache = nullptr;
  absl::Span<const int32_t> tokens;  // one for decoding, more for a prefill chunk; never empty
  bool wants_logits = false;         // of the last token
};

// Not thread-safe: everything but the const methods is called from the engine's thread.
class ModelExecutor {
 public:
  virtual ~ModelExecutor() = default;

  // Memory for a sequence of at most `tokens` tokens. RESOURCE_EXHAUSTED when the KV budget has no
  // room for it.
  virtual absl::StatusOr<std::unique_ptr<SequenceCache>> NewSequence(int64_t tokens) = 0;

  // Runs one pass with the weights as they are now, appends every row's tokens to its cache, and
  // returns the logits of the rows that want them, in order: [rows that want logits][vocab_size],
  // float, valid until the next call. On an error the caches are as before. REQUIRES: no cache
  // occurs twice; every cache has room for its tokens; token ids are within the vocabulary.
  virtual absl::StatusOr<absl::Span<const float>> Forward(absl::Span<const BatchRow> rows) = 0;

  virtual int32_t vocab_size() const = 0;
  // Most tokens that one sequence can have.
  virtual int64_t context_length() const = 0;
  // KV memory: total and in use, in bytes.
  virtual int64_t kv_budget_bytes() const = 0;
  virtual int64_t kv_used_bytes() const = 0;
};

}  // namespace shira

#endif  // SHIRA_SERVER_ENGINE_MODEL_EXECUTOR_H_
