// File: adapters/switch/compiled_state.h
//
// A state ready to be written: for each touched parameter the positions, the fused values and the
// pristine originals, in the resident dtype. Making one can fail; writing one cannot.

#ifndef SHIRA_ADAPTERS_SWITCH_COMPILED_STATE_H_
#define SHIRA_ADAPTERS_SWITCH_COMPILED_STATE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "adapters/index_table.h"
#include "adapters/switch/state_key.h"

namespace shira {

// Elements of one parameter at the positions of an index table, in the table's order and in the
// resident dtype.
using ElementBuffer = std::vector<std::byte>;

struct CompiledParameter {
  int64_t parameter = 0;  // position in the ParameterMap
  std::shared_ptr<const IndexTable> table;
  std::shared_ptr<const ElementBuffer> originals;  // W0; shared by every state with this table
  ElementBuffer fused;                             // W(S)
};

// Immutable.
struct CompiledState {
  StateKey key;
  std::vector<CompiledParameter> parameters;  // ascending by parameter; empty for the base

  int64_t entries() const;
  // Counts tables and originals in full, although they may be shared.
  int64_t memory_bytes() const;
};

}  // namespace shira

#endif  // SHIRA_ADAPTERS_SWITCH_COMPILED_STATE_H_
