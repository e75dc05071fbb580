#include "server/registry/state_supplier.h"

#include <utility>

#include "absl/cleanup/cleanup.h"
#include "base/status_macros.h"
#include "server/registry/memory_charge.h"

namespace shira {

absl::StatusOr<std::shared_ptr<const CompiledState>> StateSupplier::Get(const StateKey& key,
                                                                        ReadAdapters read) {
  if (key.is_base()) return engine_.base();
  {
    absl::MutexLock lock(&mutex_);
    const auto nobody_compiles = [&] {
      mutex_.AssertHeld();
      return !compiling_.contains(key);
    };
    mutex_.Await(absl::Condition(&nobody_compiles));
    if (std::shared_ptr<const CompiledState> state = memory_.FindState(key)) return state;
    compiling_.insert(key);
  }
  const absl::Cleanup done = [&] {
    absl::MutexLock lock(&mutex_);
    compiling_.erase(key);
  };
  return Compile(read);
}

absl::StatusOr<std::shared_ptr<const CompiledState>> StateSupplier::Compile(ReadAdapters read) {
  SHIRA_ASSIGN_OR_RETURN(std::vector<WeightedAdapterRef> adapters, read());
  // Asked of the budget before anything is allocated.
  SHIRA_ASSIGN_OR_RETURN(MemoryBudget::Reservation reservation,
                         memory_.Reserve(BytesBound(adapters)));
  SHIRA_ASSIGN_OR_RETURN(std::shared_ptr<const CompiledState> state,
                         engine_.Compile(std::move(adapters)));
  return memory_.KeepState(std::move(state), std::move(reservation));
}

int64_t StateSupplier::BytesBound(const std::vector<WeightedAdapterRef>& adapters) const {
  const auto element_bytes = static_cast<int64_t>(engine_.parameters().element_bytes());
  int64_t bytes = 0;
  for (const WeightedAdapterRef& ref : adapters) {
    const MemoryParts deltas = PartsOf(*ref.adapter);
    bytes += 2 * ref.adapter->entries() * element_bytes;  // fused values and originals
    bytes += deltas.full_bytes() - deltas.own_bytes;      // tables
  }
  return bytes;
}

}  // namespace shira
