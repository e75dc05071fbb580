// File: server/registry/state_cache.h
//
// Compiled states by key, the least recently used first to go.

#ifndef SHIRA_SERVER_REGISTRY_STATE_CACHE_H_
#define SHIRA_SERVER_REGISTRY_STATE_CACHE_H_

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>

#include "absl/container/flat_hash_map.h"
#include "adapters/switch/compiled_state.h"
#include "adapters/switch/state_key.h"
#include "base/sha256.h"
#include "server/registry/memory_budget.h"

namespace shira {

// A state is pinned while anybody besides the cache holds it: requests, the default state, the
// switch engine. Pinned states are not evicted, since that would free nothing. Thread-compatible.
class StateCache {
 public:
  // nullptr when absent. The state counts as used now.
  std::shared_ptr<const CompiledState> Find(const StateKey& key);
  // The same, but does not count as a use.
  const CompiledState* Peek(const StateKey& key) const;

  // Keeps a state and its bytes, which stay reserved until the cache and everybody else have let it
  // go. Returns what others have to hold. REQUIRES: the key is absent.
  std::shared_ptr<const CompiledState> Insert(std::shared_ptr<const CompiledState> state,
                                              MemoryBudget::Reservation reservation);

  // Evicts states that are not pinned, least recently used first, until that has freed `bytes`.
  // False, and nothing is evicted, if all of them together are less.
  bool Evict(int64_t bytes);

  // Forgets every state with this adapter in it.
  void DropStatesOf(const Sha256Digest& adapter);

  size_t size() const { return by_key_.size(); }

 private:
  // Most recently used first.
  using List = std::list<std::shared_ptr<const CompiledState>>;

  List::iterator Erase(List::iterator it);

  List states_;
  absl::flat_hash_map<StateKey, List::iterator> by_key_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_REGISTRY_STATE_CACHE_H_
