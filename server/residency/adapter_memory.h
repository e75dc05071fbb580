// File: server/residency/adapter_memory.h
//
// The adapters' tables in memory, under one budget: compiled states, and the deltas that they
// are compiled from. Both are caches. A compiled state is all that a request with weight 1 needs;
// deltas are needed for other weights and for blends, and can be read again from the adapter's
// file. So when room is needed, deltas go first, then states, in each case the least recently used
// of those that are not in use.
//
// Shared parts count once (memory_charge.h): in bf16 the first adapter of a kind costs about 6
// bytes per entry (2 each for positions, originals and fused values), each further one with the
// same mask 2.

#ifndef SHIRA_SERVER_RESIDENCY_ADAPTER_MEMORY_H_
#define SHIRA_SERVER_RESIDENCY_ADAPTER_MEMORY_H_

#include <cstdint>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "adapters/sparse_adapter.h"
#include "adapters/switch/compiled_state.h"
#include "adapters/switch/state_key.h"
#include "base/sha256.h"
#include "server/residency/memory_budget.h"
#include "server/residency/memory_charge.h"
#include "server/residency/resident_cache.h"

namespace shira {

// Thread-safe.
class AdapterMemory {
 public:
  explicit AdapterMemory(int64_t budget_bytes)
      : budget_(MemoryBudget::Create(budget_bytes)), ledger_(budget_) {}

  // Makes room for something that is about to be allocated. RESOURCE_EXHAUSTED when evicting
  // everything that is not in use would not be enough; if that is known beforehand, nothing is
  // evicted.
  absl::StatusOr<MemoryBudget::Reservation> Reserve(int64_t bytes) ABSL_LOCKS_EXCLUDED(mutex_);

  // nullptr when absent. Counts as a use.
  std::shared_ptr<const CompiledState> FindState(const StateKey& key) ABSL_LOCKS_EXCLUDED(mutex_);
  std::shared_ptr<const SparseAdapter> FindDeltas(const Sha256Digest& adapter)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Keeps a new state, for which `reservation` was made; from now on it counts what the state
  // really costs. Returns what others have to hold: the bytes are released when the cache and
  // all other holders have released it. REQUIRES: no state with its key is kept.
  std::shared_ptr<const CompiledState> KeepState(std::shared_ptr<const CompiledState> state,
                                                 MemoryBudget::Reservation reservation)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Keeps deltas if there is room for them without evicting a state. Returns what others have to
  // hold: those that are kept already, if any are; `adapter` itself, uncounted, if there is no
  // room.
  std::shared_ptr<const SparseAdapter> KeepDeltas(std::shared_ptr<const SparseAdapter> adapter)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // For deltas that cannot be read again: they count, but are never evicted: they stay while
  // the result is held. RESOURCE_EXHAUSTED as Reserve().
  absl::StatusOr<std::shared_ptr<const SparseAdapter>> HoldDeltas(
      std::shared_ptr<const SparseAdapter> adapter) ABSL_LOCKS_EXCLUDED(mutex_);

  // Removes an adapter's deltas and the states that contain it. What is in use keeps its
  // memory, and its part of the budget, until it is released.
  void Drop(const Sha256Digest& adapter) ABSL_LOCKS_EXCLUDED(mutex_);

  // What is kept of one adapter, whose own state is `own_state`.
  struct Kept {
    bool state = false;
    bool deltas = false;
    int64_t bytes = 0;  // shared parts in full
  };
  Kept KeptOf(const Sha256Digest& adapter, const StateKey& own_state) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  int64_t in_use_bytes() const { return budget_->in_use_bytes(); }
  int64_t limit_bytes() const { return budget_->limit_bytes(); }

  // How many had to go to make room, so far.
  int64_t evicted_states() const ABSL_LOCKS_EXCLUDED(mutex_);
  int64_t evicted_deltas() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  absl::StatusOr<MemoryBudget::Reservation> ReserveLocked(int64_t bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool EvictDeltas() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool EvictState() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::shared_ptr<MemoryBudget> budget_;

  mutable absl::Mutex mutex_;
  MemoryLedger ledger_ ABSL_GUARDED_BY(mutex_);
  ResidentCache<Sha256Digest, SparseAdapter> deltas_ ABSL_GUARDED_BY(mutex_);
  ResidentCache<StateKey, CompiledState> states_ ABSL_GUARDED_BY(mutex_);
  int64_t evicted_states_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t evicted_deltas_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace shira

#endif  // SHIRA_SERVER_RESIDENCY_ADAPTER_MEMORY_H_
