// File: server/registry/state_supplier.h
//
// Compiled states on demand, within the memory budget: from memory, or compiled by one of those who
// want the same one while the others wait for it.

#ifndef SHIRA_SERVER_REGISTRY_STATE_SUPPLIER_H_
#define SHIRA_SERVER_REGISTRY_STATE_SUPPLIER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "adapters/switch/compiled_state.h"
#include "adapters/switch/state_key.h"
#include "adapters/switch/switch_engine.h"
#include "server/registry/adapter_memory.h"

namespace shira {

// Thread-safe. Compiles on the caller's thread.
class StateSupplier {
 public:
  // `engine` and `memory` must outlive this object.
  StateSupplier(SwitchEngine& engine, AdapterMemory& memory) : engine_(engine), memory_(memory) {}

  // The state with the key `key`. Only if it has to be compiled, `read` is called for its adapters.
  // Errors of `read`, of AdapterMemory::Reserve() and of SwitchEngine::Compile().
  using ReadAdapters = absl::FunctionRef<absl::StatusOr<std::vector<WeightedAdapterRef>>()>;
  absl::StatusOr<std::shared_ptr<const CompiledState>> Get(const StateKey& key, ReadAdapters read)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  absl::StatusOr<std::shared_ptr<const CompiledState>> Compile(ReadAdapters read);
  // What the state of `adapters` adds to the budget at most. Where they overlap, or where another
  // state has the same tables and originals, it is less; but that state may be the one to go.
  int64_t BytesBound(const std::vector<WeightedAdapterRef>& adapters) const;

  SwitchEngine& engine_;
  AdapterMemory& memory_;

  absl::Mutex mutex_;
  absl::flat_hash_set<StateKey> compiling_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace shira

#endif  // SHIRA_SERVER_REGISTRY_STATE_SUPPLIER_H_
