#include "adapters/sparse_adapter.h"

namespace shira {

int64_t SparseAdapter::entries() const {
  int64_t total = 0;
  for (const ParameterDelta& delta : deltas) total += delta.table->entries();
  return total;
}

int64_t SparseAdapter::memory_bytes() const {
  int64_t total = 0;
  for (const ParameterDelta& delta : deltas) {
    total +=
        delta.table->memory_bytes() + static_cast<int64_t>(delta.values.size() * sizeof(float));
  }
  return total;
}

}  // namespace shira
