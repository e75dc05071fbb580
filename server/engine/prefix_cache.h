// File: server/engine/prefix_cache.h
//
// Keys and values of tokens that were run before, for prompts that begin with the same tokens. They
// are found by the state of the weights and by the tokens themselves, compared one by one: nothing
// that was computed under one adapter is ever found under another.
//
// A kept prefix is whole pages of KV memory, which it shares with the sequences that have the same
// ones. Pages that only the prefix holds are freed when it is evicted. An allocation that finds no
// free pages evicts prefixes first.
//
// Layers with windows keep only what the windows at a prefix's end see. So there, a prefix that is
// longer than a window serves prompts that go on from its end, not those that leave it before. Where
// one did leave it, others will: the beginning that the two share is kept by itself (a branch) when
// the second prompt comes by, and serves from the third one on.

#ifndef SHIRA_SERVER_ENGINE_PREFIX_CACHE_H_
#define SHIRA_SERVER_ENGINE_PREFIX_CACHE_H_

#include <cstdint>
#include <list>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "adapters/switch/state_key.h"
#include "base/sha256.h"
#include "server/executor/model_executor.h"

namespace shira {

// Thread-compatible.
class PrefixCache {
 public:
  struct Hit {
    SequenceCache* cache = nullptr;  // valid until the next call that is not const
    int64_t tokens = 0;              // whole pages; 0: nothing was found
    // Whole pages that are the same in some kept prefix, though it may not serve from there.
    int64_t common_tokens = 0;
  };

  // `executor` must outlive it. At most `max_prefixes` are kept.
  PrefixCache(ModelExecutor& executor, int64_t max_prefixes)
      : executor_(executor), max_prefixes_(max_prefixes) {}

  // The longest kept beginning of `tokens` under `state`. It counts as used.
  Hit Find(const Sha256Digest& state, absl::Span<const int32_t> tokens);

  // Keeps the whole pages of `tokens`, which are all that `cache` holds and were run under `state`.
  // Takes no memory but what `cache` is given in the place of shared pages of windows; evicts what is
  // kept where there is no room for that, and then keeps nothing if there still is none. Replaces
  // what is a beginning of them, but for branches that it cannot serve in the place of.
  void Insert(const StateKey& state, absl::Span<const int32_t> tokens, SequenceCache& cache);
  // The same for a beginning that several prompts share: stays beside longer ones.
  void InsertBranch(const StateKey& state, absl::Span<const int32_t> tokens, SequenceCache& cache);

  // Forgets what was not used for the longest time. False when there is nothing.
  bool EvictOldest();
  // Forgets what was run under a state with this adapter.
  void EraseUsersOf(const Sha256Digest& adapter);

  int64_t prefixes() const { return static_cast<int64_t>(prefixes_.size()); }
  // Over all prefixes; what several of them share counts several times.
  int64_t pages() const { return pages_; }

 private:
  struct Prefix {
    StateKey state;
    std::vector<int32_t> tokens;
    std::unique_ptr<SequenceCache> cache;  // holds exactly `tokens`
    bool is_branch = false;
  };
  using Prefixes = std::list<Prefix>;

  void Insert(const StateKey& state, absl::Span<const int32_t> tokens, SequenceCache& cache,
              bool is_branch);
  Prefixes::iterator Erase(Prefixes::iterator prefix);

  ModelExecutor& executor_;
  const int64_t max_prefixes_;
  Prefixes prefixes_;  // the one used last comes last
  int64_t pages_ = 0;
};

}  // namespace shira

#endif  // SHIRA_SERVER_ENGINE_PREFIX_CACHE_H_
