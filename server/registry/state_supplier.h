// File: server/registry/state_supplier.h
//
// Compiled states on demand, within the memory budget: from the cache, or compiled by one of those
// who want the same one while the others wait for it.

#ifndef SHIRA_SERVER_REGISTRY_STATE_SUPPLIER_H_
#define SHIRA_SERVER_REGISTRY_STATE_SUPPLIER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "adapters/switch/compiled_state.h"
#include "adapters/switch/state_key.h"
#include "adapters/switch/switch_engine.h"
#include "base/sha256.h"
#include "server/registry/memory_budget.h"
#include "server/registry/state_cache.h"

namespace shira {

// Thread-safe. Compiles on the caller's thread.
class StateSupplier {
 public:
  // `engine` must outlive this object, except for the destructor.
  StateSupplier(SwitchEngine& engine, int64_t memory_budget_bytes)
      : engine_(engine), budget_(MemoryBudget::Create(memory_budget_bytes)) {}

  // Bytes for something else that counts, such as an adapter's tables. Cached states that nobody
  // uses make room. RESOURCE_EXHAUSTED when that is not enough.
  absl::StatusOr<MemoryBudget::Reservation> Reserve(int64_t bytes) ABSL_LOCKS_EXCLUDED(mutex_);

  // The state of `adapters`, whose key is `key`. Errors of Reserve() and of
  // SwitchEngine::Compile().
  absl::StatusOr<std::shared_ptr<const CompiledState>> Get(const StateKey& key,
                                                           std::vector<WeightedAdapterRef> adapters)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Forgets the cached states with this adapter in them. A state that somebody holds keeps its
  // memory, and its part of the budget, until they let it go.
  void DropStatesOf(const Sha256Digest& adapter) ABSL_LOCKS_EXCLUDED(mutex_);

  // Of a cached state; 0 when it is not cached.
  int64_t CachedBytes(const StateKey& key) const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  absl::StatusOr<MemoryBudget::Reservation> ReserveLocked(int64_t bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  SwitchEngine& engine_;
  const std::shared_ptr<MemoryBudget> budget_;

  mutable absl::Mutex mutex_;
  StateCache cache_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_set<StateKey> compiling_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace shira

#endif  // SHIRA_SERVER_REGISTRY_STATE_SUPPLIER_H_
