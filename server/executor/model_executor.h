// File: server/executor/model_executor.h
//
// The seam between the engine and the model: one forward pass over a mixed batch of prefill chunks
// and decode rows, whose rows may want different states of the weights. The engine's tests put a
// double here; server/model/cpu_executor.h computes with this project's own kernels, and
// server/executor/torch/torch_executor.h with LibTorch's.

#ifndef SHIRA_SERVER_EXECUTOR_MODEL_EXECUTOR_H_
#define SHIRA_SERVER_EXECUTOR_MODEL_EXECUTOR_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "adapters/switch/compiled_state.h"
#include "adapters/switch/weight_memory.h"
#include "server/executor/batch_row.h"
#include "server/executor/kv_geometry.h"

namespace shira {

// Not thread-safe: everything but the const methods is called from the engine's thread.
class ModelExecutor {
 public:
  virtual ~ModelExecutor() = default;

  // The weights that Forward() computes with, for the one switch engine that writes them between two
  // calls. Lives as long as the executor.
  virtual WeightMemory& weights() = 0;

  // Memory for a sequence (room.tokens > 0). RESOURCE_EXHAUSTED when the KV budget has no room for
  // it.
  virtual absl::StatusOr<std::unique_ptr<SequenceCache>> NewSequence(const SequenceRoom& room) = 0;

  // A sequence (room.tokens >= tokens) that begins with the first `tokens` of `source`, whose
  // can_fork(tokens) has to hold. Whole pages are shared and take no memory again; the rest of a page
  // is copied. Where layers have windows, `source` may be given memory too: in the place of that
  // which it would have used again, had it not been shared. It is otherwise unchanged and may be
  // destroyed. RESOURCE_EXHAUSTED as above.
  virtual absl::StatusOr<std::unique_ptr<SequenceCache>> Fork(SequenceCache& source, int64_t tokens,
                                                              const SequenceRoom& room) = 0;

  // How much memory sequences take.
  virtual const KvGeometry& kv_geometry() const = 0;

  // Whether rows may want other states than the resident one.
  virtual bool mixes_states() const = 0;
  // Whether Forward() keeps its word that a row's logits are the same bit for bit whatever runs beside
  // it and however it is cut. Where not, drafts could change an answer.
  virtual bool has_exact_rows() const = 0;

  // Runs one pass and appends every row's tokens, but for drafted ones, to its cache. Returns the
  // logits that the rows want, in order: [sum of BatchRow::logits()][vocab_size], float, valid until
  // the next call.
  // `resident` is the state that the weights are in; a row of another state is computed with weight
  // rows that are patched in cache while they are multiplied (row patching, design of the switch),
  // where mixes_states(), and else refused (INVALID_ARGUMENT).
  // A row's logits, keys and values are the same bit for bit whatever the other rows are, however
  // its tokens are cut into chunks, and whether its state is resident or patched. On an error the
  // caches are as before. REQUIRES: no cache occurs twice; a row's tokens are at most its cache's room();
  // token ids are within the vocabulary; every state was compiled for these weights.
  virtual absl::StatusOr<absl::Span<const float>> Forward(const CompiledState& resident,
                                                          absl::Span<const BatchRow> rows) = 0;

  virtual int32_t vocab_size() const = 0;
  // Most tokens that one sequence can have.
  virtual int64_t context_length() const = 0;
  // KV memory: total and in use, in bytes.
  virtual int64_t kv_budget_bytes() const = 0;
  virtual int64_t kv_used_bytes() const = 0;
};

}  // namespace shira

#endif  // SHIRA_SERVER_EXECUTOR_MODEL_EXECUTOR_H_
