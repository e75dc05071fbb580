// File: adapters/switch/weight_memory.h
//
// The resident weights as a switch sees them: elements that are gathered and written at the
// positions of index tables, and hashed. The executor owns them and decides how
// they are stored: row-major in memory (host_weight_memory.h), encoded, or on a device.

#ifndef SHIRA_ADAPTERS_SWITCH_WEIGHT_MEMORY_H_
#define SHIRA_ADAPTERS_SWITCH_WEIGHT_MEMORY_H_

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "adapters/index_table.h"
#include "adapters/switch/compiled_state.h"
#include "adapters/switch/parameter_map.h"
#include "base/sha256.h"

namespace shira {

// Elements that count instead of a parameter's own: values[i], in the map's dtype, at the table's
// i-th position.
struct ElementOverlay {
  const IndexTable* table = nullptr;
  const std::byte* values = nullptr;
};

// Parameters are positions in parameters(); elements are row-major and of its dtype, whatever the
// memory holds. Const methods may run on several threads at a time and during a forward pass;
// Transition() runs alone, on the thread that owns the weights.
class WeightMemory {
 public:
  virtual ~WeightMemory() = default;

  // Constant.
  virtual const ParameterMap& parameters() const = 0;

  // out[i] = the element at the table's i-th position. REQUIRES: the table has the parameter's
  // shape; `out` has room for its entries.
  virtual void Gather(int64_t parameter, const IndexTable& table, std::byte* out) const = 0;

  // Copies rows [first_row, last_row). REQUIRES: `out` has their size.
  virtual void Read(int64_t parameter, int64_t first_row, int64_t last_row,
                    absl::Span<std::byte> out) const = 0;

  // SHA-256 over the parameter's bytes; with an overlay (may be null) as if it were written.
  virtual Sha256Digest Hash(int64_t parameter, const ElementOverlay* overlay) const = 0;

  // Moves the weights from state `from`, which they must be in, to state `to`, in one pass: every
  // element of `to` gets its fused value, and every element that only `from` touches its original.
  // Cannot fail and does not allocate. Returns the number of elements written.
  virtual int64_t Transition(const CompiledState& from, const CompiledState& to) = 0;
};

}  // namespace shira

#endif  // SHIRA_ADAPTERS_SWITCH_WEIGHT_MEMORY_H_
