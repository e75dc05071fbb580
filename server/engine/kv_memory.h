// File: server/engine/kv_memory.h
//
// KV memory of generations: all that one can come to need is taken when it is admitted, so that
// nothing can run out later. Prompt prefixes that were run before are reused, and kept prefixes are
// evicted as soon as a generation needs their memory.

#ifndef SHIRA_SERVER_ENGINE_KV_MEMORY_H_
#define SHIRA_SERVER_ENGINE_KV_MEMORY_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/engine/prefix_cache.h"
#include "server/executor/model_executor.h"

namespace shira {

// Thread-compatible, but for the const methods, which any thread may call.
class KvMemory {
 public:
  struct Demand {
    Sha256Digest state;
    absl::Span<const int32_t> prompt;
    int64_t tokens = 0;   // of one answer: prompt and answer
    int64_t answers = 1;  // that begin with the prompt
  };
  struct Reservation {
    // [answers]. The first is the one to run the prompt in; it holds cached_tokens of it already.
    // The others are the memory that Fork() takes once the prompt has been run, and hold nothing.
    std::vector<std::unique_ptr<SequenceCache>> caches;
    int64_t cached_tokens = 0;
    // Where a kept prompt goes on otherwise, if what was kept is of no use there; else 0. Worth
    // keeping once the prompt has been run so far (PrefixCache::InsertBranch).
    int64_t branch_tokens = 0;
  };

  // `executor` must outlive it; nothing of its memory is in use. max_prefixes 0: none are kept.
  KvMemory(ModelExecutor& executor, int64_t max_prefixes);

  // Most tokens that one sequence can have: what the model and the memory allow.
  int64_t max_sequence_tokens() const { return max_sequence_tokens_; }
  // Whether it could be met with the whole budget free.
  bool CanEverHold(const Demand& demand) const { return PagesOf(demand, 0) <= geometry_.pages; }

  // What it takes, if none of its prompt is shared with other generations.
  int64_t BytesOf(const Demand& demand) const { return PagesOf(demand, 0) * geometry_.page_bytes; }

  // RESOURCE_EXHAUSTED when there is no room now, whatever is given up.
  absl::StatusOr<Reservation> Reserve(const Demand& demand);

  // Turns a reservation's further caches into copies of the first, once that holds the prompt. A
  // null one stays null.
  absl::Status ForkPrompt(int64_t prompt_tokens, int64_t tokens, SequenceCache& first,
                          absl::Span<std::unique_ptr<SequenceCache>> others);

  // nullptr when none are kept.
  PrefixCache* prefixes() { return prefixes_.has_value() ? &*prefixes_ : nullptr; }

 private:
  // What is reserved for it beside the first `cached` tokens, which it shares.
  int64_t PagesOf(const Demand& demand, int64_t cached) const;
  absl::StatusOr<Reservation> TryReserve(const Demand& demand, const PrefixCache::Hit& hit);

  ModelExecutor& executor_;
  const KvGeometry& geometry_;
  const int64_t max_sequence_tokens_;
  std::optional<PrefixCache> prefixes_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_ENGINE_KV_MEMORY_H_
