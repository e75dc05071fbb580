// File: server/residency/memory_charge.h
//
// What an object in memory costs when it shares parts with others: index tables are common to
// adapters of equal masks, saved originals to the compiled states over equal tables. A shared part
// is counted once, from its first holder until its last one has let it go.
//
//   MemoryCharge charge(reservation, ledger.Charge(*state));
//   state = WithReservation(std::move(state), std::move(charge));

#ifndef SHIRA_SERVER_RESIDENCY_MEMORY_CHARGE_H_
#define SHIRA_SERVER_RESIDENCY_MEMORY_CHARGE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "adapters/sparse_adapter.h"
#include "adapters/switch/compiled_state.h"
#include "base/weak_pool.h"
#include "server/residency/memory_budget.h"

namespace shira {

// An object's memory, taken apart.
struct MemoryParts {
  struct Shared {
    std::shared_ptr<const void> object;
    int64_t bytes = 0;
  };

  int64_t own_bytes = 0;       // freed with the object
  std::vector<Shared> shared;  // each once

  // Of everything, shared parts in full.
  int64_t full_bytes() const;
};

// Own: the values. Shared: the tables.
MemoryParts PartsOf(const SparseAdapter& adapter);
// Own: the fused values. Shared: tables and originals.
MemoryParts PartsOf(const CompiledState& state);

// Holds an object's bytes until it is destroyed. Move-only.
struct MemoryCharge {
  struct SharedPart {
    MemoryBudget::Reservation reservation;
    // Destroyed first. Kept here, so that its address is not reused while it is charged.
    std::shared_ptr<const void> object;
  };

  MemoryBudget::Reservation own;
  std::vector<std::shared_ptr<const SharedPart>> shared;
};

// Which shared parts are charged now. Thread-compatible; charges may be destroyed on any thread.
class MemoryLedger {
 public:
  explicit MemoryLedger(std::shared_ptr<MemoryBudget> budget) : budget_(std::move(budget)) {}

  // Charges an object that is in memory already, so never fails. `own` becomes parts.own_bytes.
  MemoryCharge Charge(const MemoryParts& parts, MemoryBudget::Reservation own);

  // What Charge() would add to the budget now.
  int64_t UnchargedBytes(const MemoryParts& parts) const;

  // Of all shared parts that are charged.
  int64_t shared_bytes() const;

 private:
  const std::shared_ptr<MemoryBudget> budget_;
  WeakPool<const void*, MemoryCharge::SharedPart> shared_;  // by the part's address
};

}  // namespace shira

#endif  // SHIRA_SERVER_RESIDENCY_MEMORY_CHARGE_H_
