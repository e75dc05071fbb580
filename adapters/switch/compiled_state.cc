#include "adapters/switch/compiled_state.h"

namespace shira {

int64_t CompiledState::entries() const {
  int64_t total = 0;
  for (const CompiledParameter& parameter : parameters) total += parameter.table->entries();
  return total;
}

int64_t CompiledState::memory_bytes() const {
  int64_t total = 0;
  for (const CompiledParameter& parameter : parameters) {
    total += parameter.table->memory_bytes() +
             static_cast<int64_t>(parameter.originals->size() + parameter.fused.size());
  }
  return total;
}

}  // namespace shira
