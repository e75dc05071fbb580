#include "server/registry/state_supplier.h"

#include <utility>

#include "absl/types/span.h"
#include "base/status_macros.h"

namespace shira {
namespace {

// What the state of `adapters` occupies at most: where they overlap it is less. Asked of the budget
// before anything is allocated.
int64_t StateBytesBound(absl::Span<const WeightedAdapterRef> adapters, size_t element_bytes) {
  int64_t bytes = 0;
  for (const WeightedAdapterRef& ref : adapters) {
    for (const ParameterDelta& delta : ref.adapter->deltas) {
      bytes += delta.table->memory_bytes() +
               2 * delta.table->entries() * static_cast<int64_t>(element_bytes);
    }
  }
  return bytes;
}

}  // namespace

absl::StatusOr<MemoryBudget::Reservation> StateSupplier::Reserve(int64_t bytes) {
  absl::MutexLock lock(&mutex_);
  return ReserveLocked(bytes);
}

absl::StatusOr<MemoryBudget::Reservation> StateSupplier::ReserveLocked(int64_t bytes) {
  absl::StatusOr<MemoryBudget::Reservation> reservation = budget_->Reserve(bytes);
  if (!reservation.ok() &&
      cache_.Evict(bytes - (budget_->limit_bytes() - budget_->in_use_bytes()))) {
    reservation = budget_->Reserve(bytes);
  }
  return reservation;
}

absl::StatusOr<std::shared_ptr<const CompiledState>> StateSupplier::Get(
    const StateKey& key, std::vector<WeightedAdapterRef> adapters) {
  if (key.is_base()) return engine_.base();
  MemoryBudget::Reservation reservation;
  {
    absl::MutexLock lock(&mutex_);
    const auto nobody_compiles = [&] {
      mutex_.AssertHeld();
      return !compiling_.contains(key);
    };
    mutex_.Await(absl::Condition(&nobody_compiles));
    if (std::shared_ptr<const CompiledState> state = cache_.Find(key)) return state;
    SHIRA_ASSIGN_OR_RETURN(reservation, ReserveLocked(StateBytesBound(
                                            adapters, engine_.parameters().element_bytes())));
    compiling_.insert(key);
  }
  absl::StatusOr<std::shared_ptr<const CompiledState>> state = engine_.Compile(std::move(adapters));
  absl::MutexLock lock(&mutex_);
  compiling_.erase(key);
  SHIRA_RETURN_IF_ERROR(state.status());
  reservation.Resize((*state)->memory_bytes());
  return cache_.Insert(*std::move(state), std::move(reservation));
}

void StateSupplier::DropStatesOf(const Sha256Digest& adapter) {
  absl::MutexLock lock(&mutex_);
  cache_.DropStatesOf(adapter);
}

int64_t StateSupplier::CachedBytes(const StateKey& key) const {
  absl::MutexLock lock(&mutex_);
  const CompiledState* state = cache_.Peek(key);
  return state == nullptr ? 0 : state->memory_bytes();
}

}  // namespace shira
