// File: server/residency/state_supplier.h
//
// Compiled states on demand, within the memory budget: from memory, or compiled by one of the
// callers that need the same one while the others wait for it (single_flight.h).

#ifndef SHIRA_SERVER_RESIDENCY_STATE_SUPPLIER_H_
#define SHIRA_SERVER_RESIDENCY_STATE_SUPPLIER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "adapters/switch/compiled_state.h"
#include "adapters/switch/state_key.h"
#include "adapters/switch/switch_engine.h"
#include "base/single_flight.h"
#include "server/residency/adapter_memory.h"

namespace shira {

// Thread-safe. Compiles on the caller's thread.
class StateSupplier {
 public:
  // `engine` and `memory` must outlive this object.
  StateSupplier(SwitchEngine& engine, AdapterMemory& memory) : engine_(engine), memory_(memory) {}

  // The state with the key `key`, whose adapters have `entries` entries together. If it has to be
  // compiled, the memory that so many entries need is taken first, then `on_memory` is called, and
  // then `read` for the adapters. Errors of AdapterMemory::Reserve(), which come before a file is
  // read, of `read` and of SwitchEngine::Compile().
  using ReadAdapters = absl::FunctionRef<absl::StatusOr<std::vector<WeightedAdapterRef>>()>;
  absl::StatusOr<std::shared_ptr<const CompiledState>> Get(const StateKey& key, int64_t entries,
                                                           absl::FunctionRef<void()> on_memory,
                                                           ReadAdapters read);

  // RESOURCE_EXHAUSTED when a state of so many entries does not fit into the whole budget.
  absl::Status CheckFits(int64_t entries) const;

 private:
  absl::StatusOr<std::shared_ptr<const CompiledState>> Compile(const StateKey& key, int64_t entries,
                                                               absl::FunctionRef<void()> on_memory,
                                                               ReadAdapters read);
  // What the state of `adapters` adds to the budget at most. Where they overlap, or where another
  // state has the same tables and originals, it is less; but that state may be the one to go.
  int64_t BytesBound(const std::vector<WeightedAdapterRef>& adapters) const;
  // Of these bytes, those of `entries` fused values and originals.
  int64_t BytesOf(int64_t entries) const;

  SwitchEngine& engine_;
  AdapterMemory& memory_;
  SingleFlight<StateKey, std::shared_ptr<const CompiledState>> compiling_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_RESIDENCY_STATE_SUPPLIER_H_
