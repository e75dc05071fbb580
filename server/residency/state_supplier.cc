#include "server/residency/state_supplier.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/residency/memory_charge.h"

namespace shira {

absl::StatusOr<std::shared_ptr<const CompiledState>> StateSupplier::Get(
    const StateKey& key, int64_t entries, absl::FunctionRef<void()> on_memory, ReadAdapters read) {
  if (key.is_base()) return engine_.base();
  if (std::shared_ptr<const CompiledState> state = memory_.FindState(key)) return state;
  return compiling_.Do(key, [&] { return Compile(key, entries, on_memory, read); });
}

absl::StatusOr<std::shared_ptr<const CompiledState>> StateSupplier::Compile(
    const StateKey& key, int64_t entries, absl::FunctionRef<void()> on_memory, ReadAdapters read) {
  // Compiled by the flight before this one.
  if (std::shared_ptr<const CompiledState> state = memory_.FindState(key)) return state;
  SHIRA_ASSIGN_OR_RETURN(MemoryBudget::Reservation reservation, memory_.Reserve(BytesOf(entries)));
  on_memory();
  SHIRA_ASSIGN_OR_RETURN(std::vector<WeightedAdapterRef> adapters, read());
  // How large the tables are is known only now. They are asked of the budget before anything is
  // allocated, too.
  SHIRA_ASSIGN_OR_RETURN(
      const MemoryBudget::Reservation tables,
      memory_.Reserve(std::max<int64_t>(0, BytesBound(adapters) - reservation.bytes())));
  SHIRA_ASSIGN_OR_RETURN(std::shared_ptr<const CompiledState> state,
                         engine_.Compile(std::move(adapters)));
  return memory_.KeepState(std::move(state), std::move(reservation));
}

absl::Status StateSupplier::CheckFits(int64_t entries) const {
  if (BytesOf(entries) <= memory_.limit_bytes()) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      StrCat("the adapters' state needs at least ", BytesOf(entries), " bytes, more than the ",
             memory_.limit_bytes(), " bytes of their memory budget: use fewer, or raise it"));
}

int64_t StateSupplier::BytesOf(int64_t entries) const {
  return 2 * entries * static_cast<int64_t>(engine_.parameters().element_bytes());
}

int64_t StateSupplier::BytesBound(const std::vector<WeightedAdapterRef>& adapters) const {
  int64_t bytes = 0;
  for (const WeightedAdapterRef& ref : adapters) {
    const MemoryParts deltas = PartsOf(*ref.adapter);
    bytes += BytesOf(ref.adapter->entries());
    bytes += deltas.full_bytes() - deltas.own_bytes;  // tables
  }
  return bytes;
}

}  // namespace shira
