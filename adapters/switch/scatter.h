// File: adapters/switch/scatter.h
//
// The kernels of the switch in the process's own memory: moves elements between a matrix and buffers
// in the order of an index table. No allocation, no failure.

#ifndef SHIRA_ADAPTERS_SWITCH_SCATTER_H_
#define SHIRA_ADAPTERS_SWITCH_SCATTER_H_

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "adapters/index_table.h"
#include "adapters/switch/compiled_state.h"
#include "base/parallel.h"

namespace shira {

// out[i] = the element of `weights` at the table's i-th position. `weights` is [table.rows(),
// table.cols()], row-major, elements of element_bytes (2 or 4); `out` has room for table.entries()
// of them.
void Gather(const std::byte* weights, size_t element_bytes, const IndexTable& table,
            std::byte* out);

// At every position of both tables: to_buffer[i of `to`] = from_buffer[i of `from`]. Other elements
// of to_buffer stay.
void CopyCommon(const IndexTable& from, const std::byte* from_buffer, const IndexTable& to,
                std::byte* to_buffer, size_t element_bytes);

// Moves the weights from state `from`, which they must be in, to state `to`, in one pass: every
// element of `to` gets its fused value and every element that only `from` touches gets its
// original. Equal tables need no restoring and are not compared. Work is cut into pieces of equal
// numbers of entries whatever the parameters' sizes. Returns the number of elements written.
//   weights: by position in the ParameterMap, each as above
int64_t WriteTransition(absl::Span<std::byte* const> weights, size_t element_bytes,
                        const CompiledState& from, const CompiledState& to,
                        const ParallelFor& parallel_for);

}  // namespace shira

#endif  // SHIRA_ADAPTERS_SWITCH_SCATTER_H_
