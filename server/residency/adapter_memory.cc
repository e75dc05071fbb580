#include "server/residency/adapter_memory.h"

#include <utility>

#include "base/status_macros.h"

namespace shira {

absl::StatusOr<MemoryBudget::Reservation> AdapterMemory::Reserve(int64_t bytes) {
  absl::MutexLock lock(&mutex_);
  return ReserveLocked(bytes);
}

absl::StatusOr<MemoryBudget::Reservation> AdapterMemory::ReserveLocked(int64_t bytes) {
  absl::StatusOr<MemoryBudget::Reservation> reservation = budget_->Reserve(bytes);
  if (reservation.ok()) return reservation;
  // An upper bound: a shared part goes only with its last holder.
  const int64_t evictable =
      deltas_.evictable_bytes() + states_.evictable_bytes() + ledger_.shared_bytes();
  if (bytes - evictable > budget_->limit_bytes() - budget_->in_use_bytes()) return reservation;
  while (!reservation.ok() && (EvictDeltas() || EvictState())) {
    reservation = budget_->Reserve(bytes);
  }
  return reservation;
}

bool AdapterMemory::EvictDeltas() {
  const bool evicted = deltas_.EvictOne();
  evicted_deltas_ += evicted;
  return evicted;
}

bool AdapterMemory::EvictState() {
  const bool evicted = states_.EvictOne();
  evicted_states_ += evicted;
  return evicted;
}

int64_t AdapterMemory::evicted_states() const {
  absl::MutexLock lock(&mutex_);
  return evicted_states_;
}

int64_t AdapterMemory::evicted_deltas() const {
  absl::MutexLock lock(&mutex_);
  return evicted_deltas_;
}

std::shared_ptr<const CompiledState> AdapterMemory::FindState(const StateKey& key) {
  absl::MutexLock lock(&mutex_);
  return states_.Find(key);
}

std::shared_ptr<const SparseAdapter> AdapterMemory::FindDeltas(const Sha256Digest& adapter) {
  absl::MutexLock lock(&mutex_);
  return deltas_.Find(adapter);
}

std::shared_ptr<const CompiledState> AdapterMemory::KeepState(
    std::shared_ptr<const CompiledState> state, MemoryBudget::Reservation reservation) {
  const MemoryParts parts = PartsOf(*state);
  const StateKey key = state->key;
  absl::MutexLock lock(&mutex_);
  state = WithReservation(std::move(state), ledger_.Charge(parts, std::move(reservation)));
  states_.Insert({key, state, parts.own_bytes, parts.full_bytes()});
  return state;
}

std::shared_ptr<const SparseAdapter> AdapterMemory::KeepDeltas(
    std::shared_ptr<const SparseAdapter> adapter) {
  const MemoryParts parts = PartsOf(*adapter);
  const Sha256Digest digest = adapter->digest;
  absl::MutexLock lock(&mutex_);
  if (std::shared_ptr<const SparseAdapter> kept = deltas_.Find(digest)) return kept;
  const int64_t needed = ledger_.UnchargedBytes(parts);
  const int64_t free = budget_->limit_bytes() - budget_->in_use_bytes();
  if (needed > free + deltas_.evictable_bytes()) return adapter;
  absl::StatusOr<MemoryBudget::Reservation> reservation = budget_->Reserve(needed);
  while (!reservation.ok() && EvictDeltas()) reservation = budget_->Reserve(needed);
  if (!reservation.ok()) return adapter;
  // The tables get reservations of their own.
  reservation->Resize(parts.own_bytes);
  adapter = WithReservation(std::move(adapter), ledger_.Charge(parts, *std::move(reservation)));
  deltas_.Insert({digest, adapter, parts.own_bytes, parts.full_bytes()});
  return adapter;
}

absl::StatusOr<std::shared_ptr<const SparseAdapter>> AdapterMemory::HoldDeltas(
    std::shared_ptr<const SparseAdapter> adapter) {
  const MemoryParts parts = PartsOf(*adapter);
  absl::MutexLock lock(&mutex_);
  SHIRA_ASSIGN_OR_RETURN(MemoryBudget::Reservation reservation,
                         ReserveLocked(ledger_.UnchargedBytes(parts)));
  reservation.Resize(parts.own_bytes);
  return WithReservation(std::move(adapter), ledger_.Charge(parts, std::move(reservation)));
}

void AdapterMemory::Drop(const Sha256Digest& adapter) {
  absl::MutexLock lock(&mutex_);
  deltas_.EraseIf([&](const Sha256Digest& digest) { return digest == adapter; });
  states_.EraseIf([&](const StateKey& key) { return key.Contains(adapter); });
}

AdapterMemory::Kept AdapterMemory::KeptOf(const Sha256Digest& adapter,
                                          const StateKey& own_state) const {
  absl::MutexLock lock(&mutex_);
  Kept kept;
  if (const auto* state = states_.Peek(own_state)) {
    kept.state = true;
    kept.bytes = state->full_bytes;
  }
  if (const auto* deltas = deltas_.Peek(adapter)) {
    kept.deltas = true;
    // An adapter and its own state have the same tables.
    kept.bytes += kept.state ? deltas->own_bytes : deltas->full_bytes;
  }
  return kept;
}

}  // namespace shira
