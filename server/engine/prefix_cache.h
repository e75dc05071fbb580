// File: server/engine/prefix_cache.h
//
// Keys and values of tokens that were run before, for prompts that begin with the same tokens. They
// are found by the state of the weights and by the tokens themselves, compared one by one: nothing
// that was computed under one adapter is ever found under another.
//
// A kept prefix is whole pages of KV memory, which it shares with the sequences that have the same
// ones. Pages that only the prefix holds are freed when it is evicted. An allocation that finds no
// free pages evicts prefixes first.

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
    const SequenceCache* cache = nullptr;  // valid until the next call that is not const
    int64_t tokens = 0;                    // whole pages; 0: nothing was found
  };

  // `executor` must outlive it. At most `max_prefixes` are kept.
  PrefixCache(ModelExecutor& executor, int64_t max_prefixes)
      : executor_(executor), max_prefixes_(max_prefixes) {}

  // The longest kept beginning of `tokens` under `state`. It counts as used.
  Hit Find(const Sha256Digest& state, absl::Span<const int32_t> tokens);

  // Keeps the whole pages of `tokens`, which are the first ones in `cache` and were run under
  // `state`. Takes no memory. Replaces what is a beginning of them.
  void Insert(const StateKey& state, absl::Span<const int32_t> tokens, const SequenceCache& cache);

  // Forgets what was not used for the longest time. False when there is nothing.
  bool EvictOldest();
  // Forgets what was run under a state with this adapter.
  void EraseUsersOf(const Sha256Digest& adapter);

  int64_t prefixes() const { return static_cast<int64_t>(prefixes_.size()); }
  // Over all prefixes; what several of them share counts several times.
  int64_t tokens() const { return tokens_kept_; }

 private:
  struct Prefix {
    StateKey state;
    std::vector<int32_t> tokens;
    std::unique_ptr<SequenceCache> cache;  // holds exactly `tokens`
  };
  using Prefixes = std::list<Prefix>;

  Prefixes::iterator Erase(Prefixes::iterator prefix);

  ModelExecutor& executor_;
  const int64_t max_prefixes_;
  Prefixes prefixes_;  // the one used last comes last
  int64_t tokens_kept_ = 0;
};

}  // namespace shira

#endif  // SHIRA_SERVER_ENGINE_PREFIX_CACHE_H_
