// File: adapters/switch/state_compiler.h
//
// The arithmetic of a state, as pure functions: which elements it touches and what values they get.
// The formula is in switch_engine.h.

#ifndef SHIRA_ADAPTERS_SWITCH_STATE_COMPILER_H_
#define SHIRA_ADAPTERS_SWITCH_STATE_COMPILER_H_

#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "adapters/index_table.h"
#include "adapters/sparse_adapter.h"
#include "adapters/switch/compiled_state.h"
#include "base/dtype.h"

namespace shira {

// One adapter's part in one parameter.
struct FusionTerm {
  const ParameterDelta* delta = nullptr;
  float factor =
      1.0f;  // float(weight * scale), one rounding from double, as torch rounds a scalar factor
};

// The union of the terms' positions: the table of a term if all are equal. INVALID_ARGUMENT if it
// has more than 2^32 - 1 entries. REQUIRES: at least one term; equal shapes.
absl::StatusOr<std::shared_ptr<const IndexTable>> UnionTable(absl::Span<const FusionTerm> terms);

// The fused values at `table`'s positions, which are the terms' union, from the pristine
// `originals` there. INVALID_ARGUMENT when a value is not finite in `dtype` (names `parameter`, row
// and column). REQUIRES: the terms are in the state's canonical order.
absl::StatusOr<ElementBuffer> FuseValues(std::string_view parameter, DType dtype,
                                         const IndexTable& table, const ElementBuffer& originals,
                                         absl::Span<const FusionTerm> terms);

}  // namespace shira

#endif  // SHIRA_ADAPTERS_SWITCH_STATE_COMPILER_H_
